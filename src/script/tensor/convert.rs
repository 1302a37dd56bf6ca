//! `.to("f16")`, `.to("cuda")`, `.cpu()`: conversions to another dtype or device.

use candle_core::Device;

use super::Masks;
use super::arguments::{Call, derive_anew};
use crate::script::declare::{Gradient, OnGpu, Page, Purity, Registry};
use crate::tensor::{Kind, device, dtype, operand};
use crate::{Result, bail};

/// Registers conversions to another dtype or device.
pub fn install(registry: &mut Registry) {
    registry.section(Page::Tensors, "Dtypes and devices");
    registry
        .declare(
            "to(x, dtype_or_device, #{dtype, device})",
            Purity::Pure,
            OnGpu::NATIVE,
            Gradient::Yes,
        )
        .row(
            "in another dtype or on another device",
            r#"tensor([0.0, 2.7]).to("i64")"#,
            "tensor [2] i64 cpu: [0, 2]",
        )
        .row_for(
            "twice",
            "each a call of its own",
            r#"tensor([0.0, 2.5]).to("bool").to("cpu")"#,
            "tensor [2] bool cpu: [false, true]",
        )
        .on_tensor(1..=2, |call| {
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
    registry
        .declare("cpu(x)", Purity::Pure, OnGpu::FETCHED, Gradient::Yes)
        .row("on the CPU", "zeros(2).cpu().device", "cpu")
        .on_tensor(1..=1, |call| {
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
