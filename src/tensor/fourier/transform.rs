//! [`Transform`] and [`Norm`]: which discrete Fourier transform is meant and how it is scaled.

use crate::{Result, bail};

/// A discrete Fourier transform of `torch.fft`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// `fft`: of real or complex numbers.
    Fft,
    /// `ifft`: the inverse of `fft`.
    Ifft,
    /// `rfft`: of real numbers; the first n/2 + 1 results, whose conjugates are the others.
    Rfft,
    /// `irfft`: the inverse of `rfft`.
    Irfft,
}

impl Transform {
    /// The functions of scripts.
    pub const ALL: [(&'static str, Transform); 4] = [
        ("fft", Transform::Fft),
        ("ifft", Transform::Ifft),
        ("rfft", Transform::Rfft),
        ("irfft", Transform::Irfft),
    ];

    /// The name in scripts.
    pub fn name(self) -> &'static str {
        Transform::ALL.iter().find(|(_, transform)| *transform == self).map_or("", |(name, _)| name)
    }
}

/// The `norm` argument of `torch.fft`: which direction is divided by the length n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Norm {
    /// The inverse transforms are divided by n.
    #[default]
    Backward,
    /// Both directions are divided by √n.
    Ortho,
    /// The forward transforms are divided by n.
    Forward,
}

impl Norm {
    /// The norm with the name that `torch.fft` gives it.
    ///
    /// # Errors
    /// There is no norm of that name.
    pub fn parse(name: &str) -> Result<Norm> {
        Ok(match name {
            "backward" => Norm::Backward,
            "ortho" => Norm::Ortho,
            "forward" => Norm::Forward,
            other => bail!("norm must be \"backward\", \"ortho\" or \"forward\", not {other:?}"),
        })
    }

    /// The factor by which a transform of length `n` is multiplied.
    pub(super) fn scale(self, n: usize, inverse: bool) -> f64 {
        match (self, inverse) {
            (Norm::Ortho, _) => (n as f64).sqrt().recip(),
            (Norm::Backward, true) | (Norm::Forward, false) => (n as f64).recip(),
            _ => 1.0,
        }
    }
}
