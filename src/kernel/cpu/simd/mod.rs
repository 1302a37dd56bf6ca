//! The vector instructions that kernels use. Loops are written once, in plain Rust, and compiled for
//! each set; nothing in them depends on the width. Results of two sets differ in the last digits at
//! most: one multiplies and adds with one rounding, the other with two.

pub mod math;

use std::fmt;
use std::sync::LazyLock;

use candle_core::{Result, bail};

/// A set of vector instructions: the engine of a pass on the CPU. Each set includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cpu {
    /// What every processor of the architecture has: SSE2 on x86-64, NEON on AArch64.
    Portable,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Cpu {
    /// Every set.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The environment variable that names the set to use.
    pub const VARIABLE: &str = "PRECOMPUTE_CPU";

    /// The set that all kernels of this process use: [`asked`](Self::asked), or the widest that the
    /// processor has if the variable is at fault (the program ends with the error before it
    /// computes; a user of the library need not).
    pub fn chosen() -> Self {
        static CHOSEN: LazyLock<Cpu> =
            LazyLock::new(|| Cpu::asked().unwrap_or_else(|_| Cpu::widest()));
        *CHOSEN
    }

    /// The set that the environment variable names; without it the widest that the processor has.
    ///
    /// # Errors
    /// The variable names no set, or one that the processor lacks.
    pub fn asked() -> Result<Self> {
        let widest = Self::widest();
        let Some(name) = std::env::var_os(Self::VARIABLE).filter(|name| !name.is_empty()) else {
            return Ok(widest);
        };
        let name = name.to_string_lossy();
        match Self::ALL.into_iter().find(|cpu| cpu.name() == name) {
            Some(cpu) if cpu <= widest => Ok(cpu),
            Some(cpu) => bail!("{}={name}: this processor has no {cpu}", Self::VARIABLE),
            None => bail!("{}={name} names no set of vector instructions", Self::VARIABLE),
        }
    }

    /// The names of the sets that this processor has: "portable or avx2".
    pub fn names() -> String {
        let all = Self::ALL.into_iter().filter(|cpu| *cpu <= Self::widest());
        let names: Vec<&str> = all.map(Self::name).collect();
        match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => names.concat(),
        }
    }

    /// The name that [`VARIABLE`](Self::VARIABLE) and a run's record use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The widest set that this processor has.
    #[cfg(target_arch = "x86_64")]
    pub fn widest() -> Self {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => Self::Avx512,
            (true, false) => Self::Avx2,
            _ => Self::Portable,
        }
    }

    /// The widest set that this processor has.
    #[cfg(not(target_arch = "x86_64"))]
    pub fn widest() -> Self {
        Self::Portable
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable if cfg!(target_arch = "aarch64") => "NEON",
            Self::Portable if cfg!(target_arch = "x86_64") => "SSE2",
            Self::Portable => "those that every processor of its kind has",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
        })
    }
}

/// Compiles a function for each set of instructions; a call runs the one for [`Cpu::chosen`]. Type
/// parameters are written in square brackets: `fn sum[T: Number](numbers: &[T]) -> T { … }`. In the
/// body, the constant `FUSED` says whether the set multiplies and adds with one rounding.
#[macro_export]
macro_rules! vectorized {
    ($(#[$about:meta])* $visible:vis fn $name:ident
        $([$($parameter:ident: $bound:path),*])? ($($argument:ident: $type:ty),* $(,)?) $(-> $gives:ty)? $body:block
    ) => {
        $(#[$about])*
        $visible fn $name $(<$($parameter: $bound),*>)? ($($argument: $type),*) $(-> $gives)? {
            // Inlined, so that it is compiled for the instructions of the function that calls it.
            #[inline(always)]
            fn body<const FUSED: bool $($(, $parameter: $bound)*)?>($($argument: $type),*) $(-> $gives)? $body

            #[cfg(target_arch = "x86_64")]
            {
                use $crate::cpu::simd::Cpu;

                #[target_feature(enable = "avx2,fma")]
                fn avx2 $(<$($parameter: $bound),*>)? ($($argument: $type),*) $(-> $gives)? {
                    body::<true $($(, $parameter)*)?>($($argument),*)
                }

                #[target_feature(enable = "avx2,avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512 $(<$($parameter: $bound),*>)? ($($argument: $type),*) $(-> $gives)? {
                    body::<true $($(, $parameter)*)?>($($argument),*)
                }

                match Cpu::chosen() {
                    // SAFETY: `Cpu::chosen` gives only a set that the processor has.
                    Cpu::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    Cpu::Avx2 => return unsafe { avx2($($argument),*) },
                    Cpu::Portable => {}
                }
            }
            body::<{ cfg!(target_arch = "aarch64") } $($(, $parameter)*)?>($($argument),*)
        }
    };
}

pub use vectorized;
