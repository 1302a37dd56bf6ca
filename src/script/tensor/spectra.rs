//! `fft`, `rfft`, `fftfreq`, `fftshift`, …: Fourier transforms and their frequencies.

use candle_core::Device;

use super::arguments::{Call, derive_anew};
use super::{Handle, Masks, convert};
use crate::Result;
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::tensor::fourier::frequencies;
use crate::tensor::fourier::transform::{Norm, Transform};
use crate::tensor::{Kind, Value};

const TRANSFORMS: OnGpu = OnGpu(
    "there, as products with the transform's matrix, up to a length of 4096; beyond on the CPU",
);

/// Registers Fourier transforms and their frequencies.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Fourier transforms");
    let transform = |transform: Transform| move |call: &Call| transformed(call, transform);
    registry
        .declare("fft(x, dim, #{dim, n, norm})", Purity::Pure, TRANSFORMS, Gradient::Yes)
        .row(
            "the discrete Fourier transform along a dim, the last if none is named",
            "tensor([1.0, 0.0, -1.0, 0.0]).fft()",
            "tensor [4] c64 cpu: [0.0+0.0i, 2.0+0.0i, 0.0+0.0i, 2.0+0.0i]",
        )
        .row_for(
            "with options",
            "`#{dim, n, norm}`: n cuts or pads with zeros, norm is \"backward\", \"ortho\" or \
            \"forward\"",
            r#"ones(2, 3).fft(#{dim: 0, n: 4, norm: "forward"}).real[0]"#,
            "tensor [3] f32 cpu: [0.5, 0.5, 0.5]",
        )
        .on_tensor(1..=2, transform(Transform::Fft));
    registry
        .declare("ifft(x, dim, #{dim, n, norm})", Purity::Pure, TRANSFORMS, Gradient::Yes)
        .row(
            "back again, complex",
            "ifft(fft(tensor([1.0, 2.0, 3.0, 4.0]))).real",
            "tensor [4] f32 cpu: [1.0, 2.0, 3.0, 4.0]",
        )
        .on_tensor(1..=2, transform(Transform::Ifft));
    registry
        .declare("rfft(x, dim, #{dim, n, norm})", Purity::Pure, TRANSFORMS, Gradient::Yes)
        .row(
            "the half of a real tensor's transform that says it all: n / 2 + 1 of n",
            "rfft(ones(2, 4), #{dim: 1}).real",
            "tensor [2, 3] f32 cpu: [[4.0, 0.0, 0.0], [4.0, 0.0, 0.0]]",
        )
        .on_tensor(1..=2, transform(Transform::Rfft));
    registry
        .declare("irfft(x, dim, #{dim, n, norm})", Purity::Pure, TRANSFORMS, Gradient::Yes)
        .row(
            "from that half back; the length is even unless n says otherwise",
            "tensor([1.0, 2.0, 4.0]).rfft().irfft(#{n: 3})",
            "tensor [3] f32 cpu: [1.0, 2.0, 4.0]",
        )
        .on_tensor(1..=2, transform(Transform::Irfft));
    registry
        .declare(
            "fftfreq(n, d, #{d, dtype, device})",
            Purity::Pure,
            OnGpu::SENT,
            Gradient::NoTensors,
        )
        .row(
            "the frequencies of fft's results in cycles per sample, or per unit for samples \
            d apart",
            "fftfreq(4, #{d: 0.5})",
            "tensor [4] f32 cpu: [0.0, 0.5, -1.0, -0.5]",
        )
        .on::<i64, _>(1..=2, |call| spaced(call, frequencies::fftfreq));
    registry
        .declare(
            "rfftfreq(n, d, #{d, dtype, device})",
            Purity::Pure,
            OnGpu::SENT,
            Gradient::NoTensors,
        )
        .row("those of rfft's", "rfftfreq(4)", "tensor [3] f32 cpu: [0.0, 0.25, 0.5]")
        .on::<i64, _>(1..=2, |call| spaced(call, frequencies::rfftfreq));
    registry
        .declare("fftshift(x, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "frequency 0 moved to the middle, along the dims named or all",
            "fftshift(fftfreq(4))",
            "tensor [4] f32 cpu: [-0.5, -0.25, 0.0, 0.25]",
        )
        .on_tensor(1..=2, |call| shifted(call, frequencies::fftshift));
    registry
        .declare("ifftshift(x, dim, #{dim})", Purity::Pure, OnGpu::NATIVE, Gradient::Yes)
        .row(
            "what undoes fftshift",
            "fftfreq(5, #{d: 0.2}).fftshift().ifftshift()",
            "tensor [5] f32 cpu: [0.0, 1.0, 2.0, -2.0, -1.0]",
        )
        .on_tensor(1..=2, |call| shifted(call, frequencies::ifftshift));
}

fn transformed(call: &Call, transform: Transform) -> Result<Handle> {
    let dim = call.int_or_absent(1, "dim")?.unwrap_or(-1);
    let n = call.options().int("n")?;
    let norm = match call.options().string("norm")? {
        Some(norm) => Norm::parse(&norm).map_err(|error| error.at(transform.name()))?,
        None => Norm::default(),
    };
    derive_anew(&call.tensor(0, "a tensor")?, Masks::End, |x| transform.apply(x, dim, n, norm))
}

fn spaced(
    call: &Call,
    frequencies: fn(i64, f64, Kind, &Device) -> Result<Value>,
) -> Result<Handle> {
    let d = if call.get(1, "d").is_some() { call.float(1, "d")? } else { 1.0 };
    let (kind, device) = convert::options(call)?;
    let (kind, device) = (kind.unwrap_or(Kind::F32), device.unwrap_or(Device::Cpu));
    Ok(Handle::fresh(frequencies(call.int(0, "n")?, d, kind, &device)?))
}

fn shifted(call: &Call, shift: fn(&Value, Option<&[i64]>) -> Result<Value>) -> Result<Handle> {
    let dims = call.ints_or_absent(1, "dim")?;
    derive_anew(&call.tensor(0, "a tensor")?, Masks::Follow, |x| shift(x, dims.as_deref()))
}
