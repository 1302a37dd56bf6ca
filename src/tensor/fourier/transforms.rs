//! Fourier transforms of one line after another. A real line of even length is transformed as half
//! as many complex numbers (Sorensen, Jones, Heideman and Burrus 1987, «Real-valued fast Fourier
//! transform algorithms»).

use std::f64::consts::TAU;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::WithDType;
use rustfft::num_complex::Complex as Number;
use rustfft::{Fft, FftDirection, FftNum, FftPlanner};

use crate::kernel::cpu::simd::vectorized;

/// Real numbers that transforms are worked out in.
pub trait Float: FftNum + WithDType + Default {
    /// The last ones used: to plan a transform takes as long as to transform some hundred lines.
    fn kept() -> &'static Mutex<Vec<Arc<Plan<Self>>>>;
}

macro_rules! float {
    ($($T:ty)*) => {
        $(impl Float for $T {
            fn kept() -> &'static Mutex<Vec<Arc<Plan<Self>>>> {
                static KEPT: Mutex<Vec<Arc<Plan<$T>>>> = Mutex::new(Vec::new());
                &KEPT
            }
        })*
    };
}

float!(f32 f64);

/// How lines of `n` numbers are transformed.
pub struct Plan<T> {
    n: usize,
    fft: Arc<dyn Fft<T>>,
    /// cos and sin of 2πk/n up to n/2, where two real numbers are transformed as one complex
    /// number.
    waves: Option<[Vec<T>; 2]>,
}

impl<T: Float> Plan<T> {
    fn of(n: usize, direction: FftDirection, halved: bool) -> Arc<Self> {
        /// Few are in use at a time.
        const MOST: usize = 8;
        /// Beyond this length planning is soon worth it, and what is kept is large.
        const LONGEST: usize = 1 << 16;
        let mut kept = T::kept().lock().unwrap_or_else(PoisonError::into_inner);
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
        if n <= LONGEST {
            if kept.len() == MOST {
                kept.remove(0);
            }
            kept.push(plan.clone());
        }
        plan
    }
}

/// Transforms lines of complex numbers, or between real numbers and the first half of their
/// spectra, and multiplies what comes out by `scale`.
pub struct Spectra<T> {
    plan: Arc<Plan<T>>,
    scale: T,
}

/// Real and imaginary parts, all of which are written.
pub type Out<'a, T> = [&'a mut [MaybeUninit<T>]; 2];

/// What one thread needs.
#[derive(Default)]
pub struct Buffers<T> {
    line: Vec<Number<T>>,
    scratch: Vec<Number<T>>,
    apart: [Vec<T>; 2],
}

impl<T: Float> Spectra<T> {
    /// Of lines of `n` numbers, `real` on one side.
    pub fn new(n: usize, direction: FftDirection, real: bool, scale: f64) -> Self {
        Self { plan: Plan::of(n, direction, real && n.is_multiple_of(2)), scale: number(scale) }
    }

    /// A complex line, cut or padded with zeros to the length, to all of its transform or the
    /// beginning.
    pub fn complex(&self, re: &[T], im: &[T], buffers: &mut Buffers<T>, out: Out<T>) {
        let line = buffers.cleared(self.plan.n);
        line.iter_mut().zip(re).for_each(|(to, re)| to.re = *re);
        line.iter_mut().zip(im).for_each(|(to, im)| to.im = *im);
        buffers.transform(&*self.plan.fft);
        scaled(&buffers.line, self.scale, out);
    }

    /// A real line, cut or padded with zeros to the length, to its spectrum, or the first n/2 + 1
    /// numbers of it.
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
        line.resize(half, Number::default());
        scratch.resize(self.plan.fft.get_immutable_scratch_len(), Number::default());
        self.plan.fft.process_immutable_with_scratch(pairs(x), line, scratch);
        // Halves of sums of two, which might be too large to be halved themselves.
        separate(line, self.scale * number(0.5), apart);
        let ([first_re, rest_re], [first_im, rest_im]) = (split(re, half + 1), split(im, half + 1));
        untangle(apart, [cos, sin], [&mut *first_re, &mut *first_im]);
        // The sine of half a turn is not quite 0.
        first_im[half].write(T::default());
        // The second half of the spectrum is the conjugate of the first, from the end.
        // SAFETY: `untangle` has written the first half.
        let (first_re, first_im) =
            unsafe { (first_re[1..].assume_init_ref(), first_im[1..].assume_init_ref()) };
        rest_re.iter_mut().rev().zip(first_re).for_each(|(to, x)| _ = to.write(*x));
        rest_im.iter_mut().rev().zip(first_im).for_each(|(to, x)| _ = to.write(-*x));
    }

    /// The first n/2 + 1 numbers of a spectrum, cut or padded with zeros to so many, to the real
    /// line that has it.
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
        // The spectrum of real numbers is real at 0 and at the highest frequency of an even length.
        own_im[0] = T::default();
        match &self.plan.waves {
            Some([cos, sin]) => {
                own_im[half] = T::default();
                buffers.line.resize(half, Number::default());
                tangle(&buffers.apart, [cos, sin], &mut buffers.line);
                buffers.transform(&*self.plan.fft);
                let (pairs, _) = out.as_chunks_mut();
                for (x, to) in buffers.line.iter().zip(pairs) {
                    *to = [x.re * self.scale, x.im * self.scale].map(MaybeUninit::new);
                }
            }
            None => {
                let spectrum =
                    || own_re.iter().zip(own_im.iter()).map(|(&re, &im)| Number::new(re, im));
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
    fn cleared(&mut self, n: usize) -> &mut [Number<T>] {
        self.line.clear();
        self.line.resize(n, Number::default());
        &mut self.line
    }

    fn transform(&mut self, fft: &dyn Fft<T>) {
        self.scratch.resize(fft.get_inplace_scratch_len(), Number::default());
        fft.process_with_scratch(&mut self.line, &mut self.scratch);
    }
}

/// An even count of numbers as real and imaginary parts in turn.
fn pairs<T: Float>(x: &[T]) -> &[Number<T>] {
    // SAFETY: a complex number is two numbers, the real part first, as C has it.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), x.len() / 2) }
}

fn number<T: Float>(x: f64) -> T {
    <T as WithDType>::from_f64(x)
}

fn split<T>(slice: &mut [T], at: usize) -> [&mut [T]; 2] {
    let (first, rest) = slice.split_at_mut(at);
    [first, rest]
}

/// `from`, cut or padded with zeros.
fn fill<T: Float>(to: &mut Vec<T>, from: &[T], count: usize) {
    to.clear();
    to.extend_from_slice(&from[..count.min(from.len())]);
    to.resize(count, T::default());
}

vectorized! {
    fn scaled[T: Float](line: &[Number<T>], scale: T, out: Out<T>) {
        let [re, im] = out;
        for ((x, re), im) in line.iter().zip(re).zip(im) {
            re.write(x.re * scale);
            im.write(x.im * scale);
        }
    }
}

vectorized! {
    /// Real and imaginary parts apart, times `scale`; after the last comes the first again.
    fn separate[T: Float](line: &[Number<T>], scale: T, apart: &mut [Vec<T>; 2]) {
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
    /// From z = (e + i·o) / 2, the transform of a line's even and odd numbers as the parts of half as many complex numbers, to E + O·e^(−2πik/n), where
    /// E = z[k] + z̄[n/2 − k] is the even numbers' transform, and O = (z[k] − z̄[n/2 − k]) / i that of the odd ones.
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
    /// The way back, times two.
    fn tangle[T: Float](x: &[Vec<T>; 2], waves: [&Vec<T>; 2], out: &mut [Number<T>]) {
        let [re, im] = x;
        let [cos, sin] = waves;
        let half = out.len();
        let (re, im, cos, sin) = (&re[..=half], &im[..=half], &cos[..=half], &sin[..=half]);
        for k in 0..half {
            let back = half - k;
            let (even_re, even_im) = (re[k] + re[back], im[k] - im[back]);
            let (turned_re, turned_im) = (re[k] - re[back], im[k] + im[back]);
            let (odd_re, odd_im) = (cos[k] * turned_re - sin[k] * turned_im, cos[k] * turned_im + sin[k] * turned_re);
            out[k] = Number::new(even_re - odd_im, even_im + odd_re);
        }
    }
}
