//! Fourier transforms, and the frequencies that their results belong to.

mod dft;
pub mod fft;
pub mod frequencies;
mod transforms;
