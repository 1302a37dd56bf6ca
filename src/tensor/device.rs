//! Devices by name, for `--device`, `model(…, #{device})`, `zeros(…, #{device})` and `.to(…)`.

use std::sync::{LazyLock, Mutex};

use candle_core::{Device, DeviceLocation, Tensor, utils};

use crate::{Result, error};

/// The GPUs opened so far. candle treats two handles of one GPU as different devices and refuses to
/// mix their tensors, so each GPU is opened once.
static OPEN: Mutex<Vec<Device>> = Mutex::new(Vec::new());

/// Whether this build supports GPUs.
pub const GPU_BUILD: bool = cfg!(feature = "cuda");

/// The device with the given name: `cpu`, `cuda` or `cuda:1`.
///
/// # Errors
/// No device has such a name, this build does not support it, or the machine does not have it.
pub fn parse(name: &str) -> Result<Device> {
    let (family, ordinal) = match name.split_once(':') {
        None => (name, 0),
        Some((family, digits)) => match digits.parse::<usize>() {
            Ok(ordinal) => (family, ordinal),
            Err(_) => return Err(unknown(name)),
        },
    };
    let (location, built) = match family {
        "cpu" if ordinal == 0 => return Ok(Device::Cpu),
        "cuda" => (DeviceLocation::Cuda { gpu_id: ordinal }, utils::cuda_is_available()),
        _ => return Err(unknown(name)),
    };
    if !built {
        return Err(error!("{name} cannot be used: this precompute was built without {family}")
            .help(format!("use \"cpu\", or build with --features {family}")));
    }
    open(name, location)
}

/// The device that models are loaded onto by default: the first GPU if this build supports one and
/// the machine has it, else the CPU.
pub fn default() -> &'static Device {
    &DEFAULT.0
}

/// Why [`default`] is the CPU in a build with GPU support. `None` if it is a GPU, or if the build
/// has no GPU support.
pub fn why_not_gpu() -> Option<&'static str> {
    DEFAULT.1.as_deref()
}

static DEFAULT: LazyLock<(Device, Option<String>)> = LazyLock::new(|| {
    if !utils::cuda_is_available() {
        return (Device::Cpu, None);
    }
    match parse("cuda") {
        Ok(device) => (device, None),
        Err(error) => (Device::Cpu, Some(error.message().to_owned())),
    }
});

/// The free memory of a CUDA GPU in bytes. `None` for devices that use the host's memory.
///
/// # Errors
/// The CUDA driver reports one.
pub fn free_memory(device: &Device) -> Result<Option<usize>> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => crate::kernel::cuda::free_memory(device).map(Some),
        _ => Ok(None),
    }
}

/// Whether `name` looks like a device's name, whether or not the machine has that device.
pub fn is_device(name: &str) -> bool {
    matches!(name.split(':').next(), Some("cpu" | "cuda"))
}

/// The device's name, in the form that [`parse`] reads.
pub fn name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".into(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { .. } => unreachable!("no build of this crate opens a Metal device"),
    }
}

/// The tensor on `device`; the tensor itself if it is there already.
///
/// The elements are made contiguous first, because candle would copy the whole storage behind a
/// view.
///
/// # Errors
/// The copy fails.
pub fn transfer(tensor: &Tensor, device: &Device) -> Result<Tensor> {
    if tensor.device().same_device(device) {
        return Ok(tensor.clone());
    }
    Ok(tensor.force_contiguous()?.to_device(device)?)
}

fn open(name: &str, location: DeviceLocation) -> Result<Device> {
    let mut open = OPEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(device) = open.iter().find(|device| device.location() == location) {
        return Ok(device.clone());
    }
    let device = match location {
        DeviceLocation::Cpu => Ok(Device::Cpu),
        #[cfg(feature = "cuda")]
        DeviceLocation::Cuda { gpu_id } => crate::kernel::cuda::open(gpu_id),
        #[cfg(not(feature = "cuda"))]
        DeviceLocation::Cuda { gpu_id } => Device::new_cuda(gpu_id).map_err(crate::Error::from),
        DeviceLocation::Metal { .. } => Err(unknown(name)),
    };
    match device {
        Ok(device) => {
            open.push(device.clone());
            Ok(device)
        }
        Err(cause) => Err(error!("{name} cannot be used: {}", cause.message())
            .help("precompute doctor tells what the machine has")),
    }
}

fn unknown(name: &str) -> crate::Error {
    error!("there is no device {name:?}").help("devices are cpu, cuda, cuda:1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_one_sentence() {
        assert_eq!(name(&parse("cpu").unwrap()), "cpu");
        for wrong in ["gpu", "cuda:x", "cpu:1", "", "cuda:-1"] {
            assert_eq!(
                parse(wrong).unwrap_err().message(),
                format!("there is no device {wrong:?}")
            );
        }
        if !utils::cuda_is_available() {
            assert_eq!(
                parse("cuda:1").unwrap_err().message(),
                "cuda:1 cannot be used: this precompute was built without cuda"
            );
        }
    }
}
