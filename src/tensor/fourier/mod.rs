//! Discrete Fourier transforms, and the frequencies of their results: `fft`, `ifft`, `rfft`,
//! `irfft`, `fftfreq`, `rfftfreq`, `fftshift` and `ifftshift` of `torch.fft` and `numpy.fft`.

mod dft_matrix;
pub mod fft;
pub mod frequencies;
mod line_fft;
pub mod transform;
