//! Fourier transforms of single lines on the CPU, by rustfft. A real line of even length is
//! transformed as half as many complex numbers (Sorensen, Jones, Heideman and Burrus 1987,
//! "Real-valued fast Fourier transform algorithms").

use std::f64::consts::TAU;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::WithDType;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftNum, FftPlanner};

use crate::kernel::cpu::simd::vectorized;

/// f32 or f64, the precision of a transform.
pub trait Float: FftNum + WithDType + Default {
    /// The cache of plans. Planning a transform takes as long as transforming some hundred lines.
    fn plan_cache() -> &'static Mutex<Vec<Arc<FftPlan<Self>>>>;
}

macro_rules! float {
    ($($T:ty)*) => {
        $(impl Float for $T {
            fn plan_cache() -> &'static Mutex<Vec<Arc<FftPlan<Self>>>> {
                static PLANS: Mutex<Vec<Arc<FftPlan<$T>>>> = Mutex::new(Vec::new());
                &PLANS
            }
        })*
    };
}

float!(f32 f64);

/// A plan for transforming lines of `n` numbers.
pub struct FftPlan<T> {
    n: usize,
    /// Of length n/2 if `waves` are present, else of length `n`.
    fft: Arc<dyn Fft<T>>,
    /// cos and sin of 2πk/n for k up to n/2, if pairs of real numbers are transformed as complex
    /// numbers.
    waves: Option<[Vec<T>; 2]>,
}

impl<T: Float> FftPlan<T> {
    /// The plan for lines of `n` numbers, from the cache if possible; `halved` if pairs of real
    /// numbers are transformed as complex numbers.
    fn of(n: usize, direction: FftDirection, halved: bool) -> Arc<Self> {
        /// The size of the cache: scripts use few lengths at a time.
        const CACHE_SIZE: usize = 8;
        /// The longest line whose plan is cached: for longer ones planning takes little of the time
        /// and the plan much memory.
        const MAX_CACHED_LENGTH: usize = 1 << 16;
        let mut kept = T::plan_cache().lock().unwrap_or_else(PoisonError::into_inner);
        let same = |plan: &Arc<Self>| {
            (plan.n, plan.fft.fft_direction(), plan.waves.is_some()) == (n, direction, halved)
        };
        if let Some(plan) = kept.iter().find(|plan| same(plan)) {
            return plan.clone();
        }
        let wave = |of: fn(f64) -> f64| {
            (0..=n / 2).map(|k| number(of(TAU * k as f64 / n as f64))).collect()
        };
        let plan = Arc::new(Self {
            n,
            fft: FftPlanner::new().plan_fft(if halved { n / 2 } else { n }, direction),
            waves: halved.then(|| [wave(f64::cos), wave(f64::sin)]),
        });
        if n <= MAX_CACHED_LENGTH {
            if kept.len() == CACHE_SIZE {
                kept.remove(0);
            }
            kept.push(plan.clone());
        }
        plan
    }
}

/// Transforms lines of complex numbers, real lines to their spectra or half spectra to real lines,
/// and multiplies the results by `scale`.
pub struct LineFft<T> {
    plan: Arc<FftPlan<T>>,
    scale: T,
}

/// The real and imaginary parts of a result, of one length. A function that takes them writes all
/// of their elements.
pub type Out<'a, T> = [&'a mut [MaybeUninit<T>]; 2];

/// The buffers of one thread.
#[derive(Default)]
pub struct Buffers<T> {
    /// The line that is transformed.
    line: Vec<Complex<T>>,
    /// The scratch space of rustfft.
    scratch: Vec<Complex<T>>,
    /// Real and imaginary parts apart.
    apart: [Vec<T>; 2],
}

impl<T: Float> LineFft<T> {
    /// A transform of lines of `n` numbers, `real` if its input or its result is.
    pub fn new(n: usize, direction: FftDirection, real: bool, scale: f64) -> Self {
        Self { plan: FftPlan::of(n, direction, real && n.is_multiple_of(2)), scale: number(scale) }
    }

    /// Transforms a complex line, cut or padded with zeros to the length. `out` has any length up
    /// to n and gets the first results. `im` may be empty.
    pub fn complex(&self, re: &[T], im: &[T], buffers: &mut Buffers<T>, out: Out<T>) {
        let line = buffers.cleared(self.plan.n);
        line.iter_mut().zip(re).for_each(|(to, re)| to.re = *re);
        line.iter_mut().zip(im).for_each(|(to, im)| to.im = *im);
        buffers.transform(&*self.plan.fft);
        scaled(&buffers.line, self.scale, out);
    }

    /// Transforms a real line, cut or padded with zeros to the length, to its spectrum. The result
    /// has n or n/2 + 1 numbers.
    pub fn of_real(&self, x: &[T], buffers: &mut Buffers<T>, [re, im]: Out<T>) {
        let Some([cos, sin]) = &self.plan.waves else {
            return self.complex(x, &[], buffers, [re, im]);
        };
        let half = self.plan.n / 2;
        let Buffers { line, scratch, apart, .. } = buffers;
        let x = match x.get(..self.plan.n) {
            Some(x) => x,
            None => {
                fill(&mut apart[0], x, self.plan.n);
                &apart[0]
            }
        };
        line.resize(half, Complex::default());
        scratch.resize(self.plan.fft.get_immutable_scratch_len(), Complex::default());
        self.plan.fft.process_immutable_with_scratch(pairs(x), line, scratch);
        // Halved before `untangle` adds pairs of them, because the sums might overflow.
        separate(line, self.scale * number(0.5), apart);
        let ([first_re, rest_re], [first_im, rest_im]) = (split(re, half + 1), split(im, half + 1));
        untangle(apart, [cos, sin], [&mut *first_re, &mut *first_im]);
        // This imaginary part is 0, but the rounded sine of π is not.
        first_im[half].write(T::default());
        // The second half of the spectrum is the conjugate of the first in reverse order.
        // SAFETY: `untangle` has written all of `first_re` and `first_im`, which are half + 1 long.
        let (first_re, first_im) =
            unsafe { (first_re[1..].assume_init_ref(), first_im[1..].assume_init_ref()) };
        rest_re.iter_mut().rev().zip(first_re).for_each(|(to, x)| _ = to.write(*x));
        rest_im.iter_mut().rev().zip(first_im).for_each(|(to, x)| _ = to.write(-*x));
    }

    /// Transforms the first n/2 + 1 numbers of a spectrum, cut or padded with zeros to that length,
    /// to the real line of n numbers. All of `out` is written. `im` may be empty.
    pub fn to_real(
        &self,
        re: &[T],
        im: &[T],
        buffers: &mut Buffers<T>,
        out: &mut [MaybeUninit<T>],
    ) {
        let half = self.plan.n / 2;
        let [own_re, own_im] = &mut buffers.apart;
        fill(own_re, re, half + 1);
        fill(own_im, im, half + 1);
        // The spectrum of real numbers is real at frequency 0 and, for an even length, at the
        // highest.
        own_im[0] = T::default();
        match &self.plan.waves {
            Some([cos, sin]) => {
                own_im[half] = T::default();
                buffers.line.resize(half, Complex::default());
                tangle(&buffers.apart, [cos, sin], &mut buffers.line);
                buffers.transform(&*self.plan.fft);
                let (pairs, _) = out.as_chunks_mut();
                for (x, to) in buffers.line.iter().zip(pairs) {
                    *to = [x.re * self.scale, x.im * self.scale].map(MaybeUninit::new);
                }
            }
            None => {
                let spectrum =
                    || own_re.iter().zip(own_im.iter()).map(|(&re, &im)| Complex::new(re, im));
                buffers.line.clear();
                buffers.line.extend(spectrum());
                buffers.line.extend(spectrum().skip(1).rev().map(|x| x.conj()));
                buffers.transform(&*self.plan.fft);
                buffers.line.iter().zip(out).for_each(|(x, to)| _ = to.write(x.re * self.scale));
            }
        }
    }
}

impl<T: Float> Buffers<T> {
    fn cleared(&mut self, n: usize) -> &mut [Complex<T>] {
        self.line.clear();
        self.line.resize(n, Complex::default());
        &mut self.line
    }

    fn transform(&mut self, fft: &dyn Fft<T>) {
        self.scratch.resize(fft.get_inplace_scratch_len(), Complex::default());
        fft.process_with_scratch(&mut self.line, &mut self.scratch);
    }
}

/// An even number of reals as half as many complex numbers, whose parts alternate.
fn pairs<T: Float>(x: &[T]) -> &[Complex<T>] {
    // SAFETY: `num_complex::Complex<T>` is `repr(C)` with the fields `re` and `im`, so it has the
    // alignment of `T` and the layout of two of them; the length covers no more than `x`.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), x.len() / 2) }
}

fn number<T: Float>(x: f64) -> T {
    <T as WithDType>::from_f64(x)
}

fn split<T>(slice: &mut [T], at: usize) -> [&mut [T]; 2] {
    let (first, rest) = slice.split_at_mut(at);
    [first, rest]
}

/// `to` becomes `from`, cut or padded with zeros to `count` elements.
fn fill<T: Float>(to: &mut Vec<T>, from: &[T], count: usize) {
    to.clear();
    to.extend_from_slice(&from[..count.min(from.len())]);
    to.resize(count, T::default());
}

vectorized! {
    fn scaled[T: Float](line: &[Complex<T>], scale: T, out: Out<T>) {
        let [re, im] = out;
        for ((x, re), im) in line.iter().zip(re).zip(im) {
            re.write(x.re * scale);
            im.write(x.im * scale);
        }
    }
}

vectorized! {
    /// The real and the imaginary parts of `line` times `scale`, each followed by the first one
    /// again.
    fn separate[T: Float](line: &[Complex<T>], scale: T, apart: &mut [Vec<T>; 2]) {
        let [re, im] = apart;
        re.resize(line.len() + 1, T::default());
        im.resize(line.len() + 1, T::default());
        let (re, im) = (&mut re[..=line.len()], &mut im[..=line.len()]);
        for ((x, re), im) in line.iter().zip(re.iter_mut()).zip(im.iter_mut()) {
            (*re, *im) = (x.re * scale, x.im * scale);
        }
        (re[line.len()], im[line.len()]) = (re[0], im[0]);
    }
}

vectorized! {
    /// The first n/2 + 1 numbers of the spectrum of a real line, E + O·e^(−2πik/n). E is the
    /// transform of its even-numbered elements and O that of the odd-numbered ones. `z` is half the
    /// transform of the complex numbers that have these as real and imaginary parts, so that E =
    /// z[k] + z̄[n/2 − k] and O = (z[k] − z̄[n/2 − k]) / i.
    fn untangle[T: Float](z: &[Vec<T>; 2], waves: [&Vec<T>; 2], out: Out<T>) {
        let [re, im] = z;
        let [cos, sin] = waves;
        let [out_re, out_im] = out;
        let count = out_re.len();
        let (re, im, cos, sin, out_im) = (&re[..count], &im[..count], &cos[..count], &sin[..count], &mut out_im[..count]);
        for k in 0..count {
            let back = count - 1 - k;
            let (even_re, even_im) = (re[k] + re[back], im[k] - im[back]);
            let (odd_re, odd_im) = (im[k] + im[back], re[back] - re[k]);
            out_re[k].write(even_re + (cos[k] * odd_re + sin[k] * odd_im));
            out_im[k].write(even_im + (cos[k] * odd_im - sin[k] * odd_re));
        }
    }
}

vectorized! {
    /// The inverse of [`untangle`], times 2.
    fn tangle[T: Float](x: &[Vec<T>; 2], waves: [&Vec<T>; 2], out: &mut [Complex<T>]) {
        let [re, im] = x;
        let [cos, sin] = waves;
        let half = out.len();
        let (re, im, cos, sin) = (&re[..=half], &im[..=half], &cos[..=half], &sin[..=half]);
        for k in 0..half {
            let back = half - k;
            let (even_re, even_im) = (re[k] + re[back], im[k] - im[back]);
            let (turned_re, turned_im) = (re[k] - re[back], im[k] + im[back]);
            let (odd_re, odd_im) = (cos[k] * turned_re - sin[k] * turned_im, cos[k] * turned_im + sin[k] * turned_re);
            out[k] = Complex::new(even_re - odd_im, even_im + odd_re);
        }
    }
}
