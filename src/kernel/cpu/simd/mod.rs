//! Which vector instructions loops use. The loops are written once, in plain Rust, and compiled for
//! each set: nothing in them depends on the width, and results differ in the last digits at most,
//! where one set multiplies and adds with one rounding.

pub mod math;

use std::sync::LazyLock;

/// A set of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cpu {
    /// What every processor of the architecture has.
    Portable,
    /// With FMA and F16C, as every processor with it has them.
    Avx2,
    Avx512,
    /// AVX-512, and tiles for matrix products.
    Amx,
}

impl Cpu {
    /// The widest that this processor has, or less where `PRECOMPUTE_CPU` says so.
    pub fn chosen() -> Self {
        static CHOSEN: LazyLock<Cpu> = LazyLock::new(|| {
            let said = std::env::var("PRECOMPUTE_CPU").ok();
            said.and_then(|name| Cpu::named(&name)).unwrap_or(Cpu::Amx).min(Cpu::widest())
        });
        *CHOSEN
    }

    /// By the names that `PRECOMPUTE_CPU` takes.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "portable" => Some(Cpu::Portable),
            "avx2" => Some(Cpu::Avx2),
            "avx512" => Some(Cpu::Avx512),
            "amx" => Some(Cpu::Amx),
            _ => None,
        }
    }

    /// The widest that this processor has.
    #[cfg(target_arch = "x86_64")]
    pub fn widest() -> Self {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
        {
            if super::sgemm::has_amx() { Cpu::Amx } else { Cpu::Avx512 }
        } else if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            Cpu::Avx2
        } else {
            Cpu::Portable
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn widest() -> Self {
        Cpu::Portable
    }
}

/// Compiles a function for each set of instructions; a call takes the chosen one's. Type parameters
/// stand in square brackets: `fn sum[T: Number](numbers: &[T]) -> T { … }`. Within, `FUSED` says
/// whether the instructions multiply and add with one rounding.
macro_rules! vectorized {
    ($(#[$about:meta])* $visible:vis fn $name:ident
        $([$($parameter:ident: $bound:path),*])? ($($argument:ident: $type:ty),* $(,)?) $(-> $gives:ty)? $body:block
    ) => {
        $(#[$about])*
        $visible fn $name $(<$($parameter: $bound),*>)? ($($argument: $type),*) $(-> $gives)? {
            // Taken in wherever it is called, and with it what it calls: a function is compiled for its caller's instructions
            // only there.
            #[inline(always)]
            fn body<const FUSED: bool $($(, $parameter: $bound)*)?>($($argument: $type),*) $(-> $gives)? $body

            #[cfg(target_arch = "x86_64")]
            {
                use $crate::kernel::cpu::simd::Cpu;

                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$($parameter: $bound),*>)? ($($argument: $type),*) $(-> $gives)? {
                    body::<true $($(, $parameter)*)?>($($argument),*)
                }

                #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512 $(<$($parameter: $bound),*>)? ($($argument: $type),*) $(-> $gives)? {
                    body::<true $($(, $parameter)*)?>($($argument),*)
                }

                match Cpu::chosen() {
                    // SAFETY: the processor has these instructions, or they would not have been chosen.
                    Cpu::Amx | Cpu::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    Cpu::Avx2 => return unsafe { avx2($($argument),*) },
                    Cpu::Portable => {}
                }
            }
            body::<{ cfg!(target_arch = "aarch64") } $($(, $parameter)*)?>($($argument),*)
        }
    };
}

pub(crate) use vectorized;
