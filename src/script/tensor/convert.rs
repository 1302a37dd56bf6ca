//! `.to("f16")`, `.to("cuda")`, `.cpu()`: another dtype, another device.

use candle_core::Device;
use rhai::Engine;

use super::arguments::{Call, define, derive_anew};
use super::{Handle, Masks};
use crate::tensor::{Kind, device, dtype, operand};
use crate::{Result, bail};

pub fn install(engine: &mut Engine) {
    define::<Handle, Handle>(engine, "to", 1..=2, &["dtype", "device"], |call| {
        let (mut kind, mut to) = options(call)?;
        if let Some(name) = call.string_or_absent(1, "a dtype or a device")? {
            match device::is_device(&name) {
                true => to = Some(device::parse(&name)?),
                false => kind = Some(Kind::parse(&name).map_err(|error| error.at("to"))?),
            }
        }
        if kind.is_none() && to.is_none() {
            bail!("to needs a dtype or a device, as in .to(\"f16\") or .to(\"cuda\")");
        }
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |value| {
            let cast = dtype::cast(value, kind.unwrap_or(Kind::of(value)))?;
            operand::transfer(&cast, to.as_ref().unwrap_or(value.device()))
        })
    });
    define::<Handle, Handle>(engine, "cpu", 1..=1, &[], |call| {
        derive_anew(&call.tensor(0, "a tensor")?, Masks::Stay, |value| {
            operand::transfer(value, &Device::Cpu)
        })
    });
}

/// The options `dtype` and `device`.
pub(super) fn options(call: &Call) -> Result<(Option<Kind>, Option<Device>)> {
    let kind = call.options().string("dtype")?.map(|name| Kind::parse(&name)).transpose()?;
    let device = call.options().string("device")?.map(|name| device::parse(&name)).transpose()?;
    Ok((kind, device))
}
