//! NVIDIA GPUs: the driver, the libraries that a build with CUDA needs, and the devices. The
//! libraries are loaded at run time, so that a build without CUDA can report what one with CUDA
//! would find.

use std::ffi::{CStr, c_char, c_int};

use libloading::Library;

use super::{Finding, size};
use crate::tensor::device;

const SECTION: &str = "GPU";
/// The major version of CUDA that candle's kernels are built with.
const CUDA: c_int = 13;
/// The libraries that such a build loads besides the driver's, without the prefix `lib`.
const LIBRARIES: [&str; 5] =
    ["cublas.so.13", "cublasLt.so.13", "curand.so.10", "nvrtc.so.13", "cudart.so.13"];

/// Examines the driver, the libraries and the GPUs.
pub fn findings() -> Vec<Finding> {
    let built = cfg!(feature = "cuda");
    if cfg!(not(target_os = "linux")) && !built {
        return vec![Finding::new(SECTION, "CUDA", "looked for on Linux only")];
    }
    let mut all = Vec::new();
    let driver = Driver::open();
    let gpus = match &driver {
        Ok(driver) => {
            all.push(version(driver));
            driver.devices()
        }
        Err(found) => {
            let finding = Finding::new(SECTION, "driver", found);
            all.push(match built {
                true => finding.fault(
                    "install NVIDIA's driver, of CUDA 13.0 or newer, or compute with --device cpu",
                ),
                false => finding,
            });
            Vec::new()
        }
    };
    all.extend(gpus.iter().map(|gpu| Finding::new(SECTION, gpu.name.clone(), gpu.about())));
    if !gpus.is_empty() || built {
        all.extend(LIBRARIES.map(library));
    }
    if !gpus.is_empty() && !built {
        let finding = Finding::new(SECTION, "this build", "computes on the CPU alone");
        all.push(finding.advise("build with --features cuda to compute on the GPU"));
    }
    all.push(chosen());
    all
}

fn version(driver: &Driver) -> Finding {
    let found = driver.version();
    let finding =
        Finding::new(SECTION, "driver", format!("of CUDA {}.{}", found / 1000, found % 1000 / 10));
    if found / 1000 < CUDA {
        return finding.fault("builds with CUDA need a driver of CUDA 13.0 or newer: update it");
    }
    match driver.count() {
        Ok(0) => finding.advise(
            "it shows no GPU: is CUDA_VISIBLE_DEVICES empty, or the container started without one?",
        ),
        Ok(_) => finding,
        Err(cause) => finding.fault(format!(
            "it does not start ({cause}): nvidia-smi may tell more; a restart helps after an update"
        )),
    }
}

fn library(name: &str) -> Finding {
    let name = format!("lib{name}");
    // SAFETY: loading a library runs its initializers. Those of NVIDIA's CUDA libraries only set up
    // their own state, and have no preconditions.
    match unsafe { Library::new(&name) } {
        Ok(_) => Finding::new(SECTION, name, "found"),
        Err(_) => Finding::new(SECTION, name, "not found").fault(
            "add the directory that has it to LD_LIBRARY_PATH: /usr/local/cuda/lib64, or in a PyTorch environment \
             site-packages/nvidia/cu13/lib",
        ),
    }
}

/// The device that models compute on by default.
fn chosen() -> Finding {
    let finding = Finding::new(SECTION, "models compute on", device::name(device::default()));
    match device::why_not_gpu() {
        Some(cause) => finding.fault(format!("a GPU would be used, but {cause}")),
        None => finding,
    }
}

/// NVIDIA's driver, through the functions of libcuda.
struct Driver(Library);

/// A GPU, as the driver describes it.
struct Gpu {
    name: String,
    /// The compute capability: major and minor version.
    capability: (c_int, c_int),
    /// Its memory in bytes.
    total: usize,
    /// The bytes that no program has allocated, if the driver says.
    free: Option<usize>,
}

impl Gpu {
    fn about(&self) -> String {
        let memory = match self.free {
            Some(free) => format!("{} free of {}", size(free as u64), size(self.total as u64)),
            None => size(self.total as u64),
        };
        format!("{memory}, compute capability {}.{}", self.capability.0, self.capability.1)
    }
}

/// Calls a function of the driver's library by name: `call!(driver, "NAME"(argument => type, …))`.
/// The result is an error if the function is missing or returns a code other than 0.
macro_rules! call {
    ($driver:expr, $name:literal($($argument:expr => $type:ty),*)) => {
        // SAFETY: the argument types of each use below are those in the documentation of CUDA's
        // driver API, whose functions return `CUresult`, an int.
        match unsafe { $driver.0.get::<unsafe extern "C" fn($($type),*) -> c_int>($name.as_bytes()) } {
            // SAFETY: pointer arguments are to local variables of the documented types, or to an
            // array with its length, and outlive the call.
            Ok(function) => match unsafe { function($($argument),*) } {
                0 => Ok(()),
                code => Err(format!("{} says {code}", $name)),
            },
            Err(_) => Err(format!("it has no {}", $name)),
        }
    };
}

impl Driver {
    fn open() -> Result<Self, String> {
        // SAFETY: loading a library runs its initializers. Those of libcuda only set up its own
        // state; the driver is initialized by `cuInit`.
        let library = unsafe { Library::new("libcuda.so.1") };
        library.map(Self).map_err(|_| "none: libcuda.so.1 is not found".into())
    }

    /// The CUDA version that the driver supports, as 1000 · major + 10 · minor; 0 if it does not
    /// say.
    fn version(&self) -> c_int {
        let mut version = 0;
        let _ = call!(self, "cuDriverGetVersion"(&mut version => *mut c_int));
        version
    }

    fn count(&self) -> Result<c_int, String> {
        let mut count = 0;
        call!(self, "cuInit"(0 => u32))?;
        call!(self, "cuDeviceGetCount"(&mut count => *mut c_int))?;
        Ok(count)
    }

    fn devices(&self) -> Vec<Gpu> {
        (0..self.count().unwrap_or(0)).filter_map(|ordinal| self.device(ordinal).ok()).collect()
    }

    fn device(&self, ordinal: c_int) -> Result<Gpu, String> {
        const CAPABILITY_MAJOR: c_int = 75;
        const CAPABILITY_MINOR: c_int = 76;
        let (mut device, mut name, mut total) = (0, [0 as c_char; 128], 0);
        call!(self, "cuDeviceGet"(&mut device => *mut c_int, ordinal => c_int))?;
        call!(self, "cuDeviceGetName"(name.as_mut_ptr() => *mut c_char, name.len() as c_int - 1 => c_int, device => c_int))?;
        call!(self, "cuDeviceTotalMem_v2"(&mut total => *mut usize, device => c_int))?;
        let attribute = |attribute: c_int| {
            let mut value = 0;
            let _ = call!(self, "cuDeviceGetAttribute"(&mut value => *mut c_int, attribute => c_int, device => c_int));
            value
        };
        // SAFETY: the array was zeroed, and the driver got its length less one, so its last byte is
        // still 0.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy();
        Ok(Gpu {
            name: format!("cuda:{ordinal} {name}"),
            capability: (attribute(CAPABILITY_MAJOR), attribute(CAPABILITY_MINOR)),
            total,
            free: self.free(device),
        })
    }

    /// The bytes of GPU memory that no program has allocated.
    fn free(&self, device: c_int) -> Option<usize> {
        type Context = *mut std::ffi::c_void;
        let (mut context, mut free, mut total): (Context, _, _) = (std::ptr::null_mut(), 0, 0);
        call!(self, "cuDevicePrimaryCtxRetain"(&mut context => *mut Context, device => c_int))
            .ok()?;
        let asked = call!(self, "cuCtxSetCurrent"(context => Context)).and_then(
            |()| call!(self, "cuMemGetInfo_v2"(&mut free => *mut usize, &mut total => *mut usize)),
        );
        let _ = call!(self, "cuDevicePrimaryCtxRelease_v2"(device => c_int));
        asked.ok().map(|()| free)
    }
}
