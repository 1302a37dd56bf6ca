//! `fft`, `rfft`, `fftfreq`, `fftshift`, …: spectra and their frequencies.

use candle_core::Device;
use rhai::Engine;

use super::arguments::{define, derive_anew};
use super::{Handle, Masks, convert};
use crate::Result;
use crate::tensor::fourier::frequencies;
use crate::tensor::fourier::transform::{Norm, Transform};
use crate::tensor::{Kind, Value};

pub fn install(engine: &mut Engine) {
    for (name, transform) in Transform::ALL {
        define::<Handle, Handle>(engine, name, 1..=2, &["dim", "n", "norm"], move |call| {
            let dim = call.int_or_absent(1, "dim")?.unwrap_or(-1);
            let n = call.options().int("n")?;
            let norm = match call.options().string("norm")? {
                Some(norm) => Norm::parse(&norm).map_err(|error| error.at(name))?,
                None => Norm::default(),
            };
            derive_anew(&call.tensor(0, "a tensor")?, Masks::End, |x| {
                transform.apply(x, dim, n, norm)
            })
        });
    }
    type Frequencies = fn(i64, f64, Kind, &Device) -> Result<Value>;
    for (name, frequencies) in
        [("fftfreq", frequencies::fftfreq as Frequencies), ("rfftfreq", frequencies::rfftfreq)]
    {
        define::<i64, Handle>(engine, name, 1..=2, &["d", "dtype", "device"], move |call| {
            let d = if call.get(1, "d").is_some() { call.float(1, "d")? } else { 1.0 };
            let (kind, device) = convert::options(call)?;
            let (kind, device) = (kind.unwrap_or(Kind::F32), device.unwrap_or(Device::Cpu));
            Ok(Handle::fresh(frequencies(call.int(0, "n")?, d, kind, &device)?))
        });
    }
    type Shift = fn(&Value, Option<&[i64]>) -> Result<Value>;
    for (name, shift) in
        [("fftshift", frequencies::fftshift as Shift), ("ifftshift", frequencies::ifftshift)]
    {
        define::<Handle, Handle>(engine, name, 1..=2, &["dim"], move |call| {
            let dims = call.ints_or_absent(1, "dim")?;
            derive_anew(&call.tensor(0, "a tensor")?, Masks::Follow, |x| shift(x, dims.as_deref()))
        });
    }
}
