//! Captures that are kept in a store and answered from it: `m.capture(ids, points, #{into: s})` and
//! `#{from: s}`.
//!
//! An answer has the bits that a pass would give, because what decides them is compared: every byte
//! of the model's weights and config, dtype, device, instructions and program, the token ids of the
//! whole batch with their mask, and that no hook runs. Points that a pass makes only on request
//! change how others are computed, so a store with such points answers for exactly those.

use std::collections::BTreeMap;
use std::io::{self, Write};

use candle_core::{DType, Device, Tensor};
use rhai::{Dynamic, Map};
use sha2::{Digest, Sha256};

use super::capture_points::{CapturePoint, CapturePoints};
use crate::data::store::{self, Captured};
use crate::hook::{Capture, Dim, not_reached};
use crate::kernel::cpu::simd::Cpu;
use crate::output::record::Versions;
use crate::script::value::Handle;
use crate::script::value::model::{Loaded, Model};
use crate::script::value::options::describe;
use crate::script::value::store::{StoreView, StoreWriter};
use crate::system::digest::hex;
use crate::tensor::transfer::bytes::to_le_bytes;
use crate::tensor::{Value, WeightSource, device};
use crate::{Result, bail, error};

/// The names that the rows of a capture have besides those of points.
const IDS: &str = "ids";
const REAL: &str = "real";

/// The stores of a call of `capture`.
#[derive(Default)]
pub struct Stores {
    from: Option<StoreView>,
    into: Option<StoreWriter>,
}

impl Stores {
    /// Takes the options `from` and `into` out of a map, where they are stores. Another `from` is
    /// that of a pass that starts in the middle.
    ///
    /// # Errors
    /// `into` is no store of this run; both a store and what changes a pass are asked for.
    pub fn take(options: &mut Map, with_hooks: bool) -> Result<Self> {
        let mut stores = Self::default();
        if let Some(from) = options.get("from") {
            if from.is::<StoreWriter>() {
                return Err(error!(
                    "capture: from is a store that can be read, and this one is being written"
                )
                .help("load_store(s) closes it and reads it"));
            }
            stores.from = from.read_lock::<StoreView>().map(|view| view.clone());
        }
        if let Some(into) = options.get("into").filter(|into| !into.is_unit()) {
            let Some(writer) = into.read_lock::<StoreWriter>() else {
                bail!(
                    "capture: into must be a store of this run, as store(name) gives it, not {}",
                    describe(into)
                )
            };
            stores.into = Some(writer.clone());
        }
        options.remove("into");
        if stores.from.is_some() {
            options.remove("from");
        }
        if !stores.is_used() {
            return Ok(stores);
        }
        if with_hooks {
            bail!(
                "capture: a store holds what passes without hooks give, and there is a context with hooks"
            );
        }
        let changes = ["mask", "start", "from", "stop", "loss", "logits", "beyond"];
        if let Some(other) =
            changes.iter().find(|name| options.get(**name).is_some_and(|value| !value.is_unit()))
        {
            bail!("capture: {other} can't be asked for together with a store");
        }
        Ok(stores)
    }

    /// Whether there is any.
    pub fn is_used(&self) -> bool {
        self.from.is_some() || self.into.is_some()
    }

    /// The answer of the store `from`; nothing if it does not have it.
    ///
    /// # Errors
    /// The store can't be read.
    pub fn answer(
        &self,
        m: &Model,
        ids: &Handle,
        points: &CapturePoints,
    ) -> Result<Option<Dynamic>> {
        let Some(view) = &self.from else { return Ok(None) };
        let Some(captured) = view.store().captured() else { return Ok(None) };
        let asked = layers(m, points)?;
        let on_request = |captured: &Captured| {
            let named = crate::hook::Point::ALL
                .into_iter()
                .filter(|point| captured.points.contains_key(point.name()));
            named.into_iter().any(|point| !point.is_always_computed())
        };
        let has = |(point, layers): (&String, &Vec<u64>)| {
            captured
                .points
                .get(point)
                .is_some_and(|kept| layers.iter().all(|layer| kept.contains(layer)))
        };
        let covered = match on_request(captured) {
            true => captured.points == asked,
            false => asked.iter().all(has),
        };
        if !covered || captured.model != model_digest(m)? {
            return Ok(None);
        }
        let Some((row, batch, positions)) = view.capture(&ids_digest(ids)?) else {
            return Ok(None);
        };
        let tensor = |point: &CapturePoint| {
            let name = point.point.name();
            let to = row.saturating_add(batch.saturating_mul(positions));
            if to > view.store().rows() {
                bail!("{} has fewer rows than its captures", view.store().name());
            }
            let places: Vec<u64> = (row..to).collect();
            let mut read = view.store().read(&places, Some(name))?;
            let Some(Value::Real(rows)) = read.remove(name) else {
                bail!("{} has no tensor {name} that was captured", view.store().name())
            };
            let whole = [&[batch as usize, positions as usize], &rows.dims()[1..]].concat();
            let tensor = rows.reshape(whole)?;
            let tensor = if point.point.in_block() {
                let kept = &captured.points[name];
                let at =
                    |layer: &u64| kept.iter().position(|known| known == layer).unwrap_or(0) as u32;
                let at: Vec<u32> = asked[name].iter().map(at).collect();
                let tensor = tensor.index_select(&Tensor::new(at, &Device::Cpu)?, 2)?;
                let order: Vec<usize> = [2, 0, 1].into_iter().chain(3..tensor.rank()).collect();
                point.without_single_axis(tensor.permute(order)?.contiguous()?)?
            } else {
                tensor
            };
            Ok(tensor.to_device(m.loaded().decoder.device())?)
        };
        points.shaped(tensor).map(Some).map_err(|error| error!("{error}"))
    }

    /// Adds what a pass has captured to the store `into`.
    ///
    /// # Errors
    /// A point whose rows have no one size; the store holds other captures; it can't be written.
    pub fn keep(
        &self,
        m: &Model,
        ids: &Handle,
        points: &CapturePoints,
        capture: &Capture,
    ) -> Result<()> {
        let Some(into) = &self.into else { return Ok(()) };
        let ids_value =
            ids.value().real("token ids")?.to_device(&Device::Cpu)?.to_dtype(DType::I64)?;
        let ids_value = if ids_value.rank() == 1 { ids_value.unsqueeze(0)? } else { ids_value };
        let (batch, positions) = ids_value.dims2()?;
        let flat =
            |tensor: &Tensor| -> Result<Handle> { Ok(Handle::fresh(Value::Real(tensor.clone()))) };
        let mut rows = vec![(IDS.to_owned(), flat(&ids_value.flatten_all()?)?)];
        let real = match ids.mask() {
            Some(mask) => mask.value().real("the mask")?.to_device(&Device::Cpu)?.flatten_all()?,
            None => Tensor::ones(batch * positions, DType::U8, &Device::Cpu)?,
        };
        rows.push((REAL.to_owned(), Handle::fresh(Value::Bool(real))));
        for point in points.iter() {
            let name = point.point.name();
            let fits = matches!(point.point.shape(), [Dim::Batch, Dim::Tokens, rest @ ..]
                if !rest.iter().any(|dim| matches!(dim, Dim::Tokens | Dim::Attended | Dim::Predicted)));
            if !fits {
                return Err(error!("capture: {name} can't be kept in a store: its rows have no one size for each token")
                    .help("points of shape b n … can"));
            }
            let tensor = point.stacked(capture.recorded(), not_reached)?;
            let tensor = if point.point.in_block() {
                let order: Vec<usize> = [1, 2, 0].into_iter().chain(3..tensor.rank()).collect();
                tensor.permute(order)?
            } else {
                tensor
            };
            let shape = [&[batch * positions], &tensor.dims()[2..]].concat();
            rows.push((
                name.to_owned(),
                flat(&tensor.to_device(&Device::Cpu)?.contiguous()?.reshape(shape)?)?,
            ));
        }
        let captured = Captured { model: model_digest(m)?, points: layers(m, points)? };
        let entry = store::Capture {
            ids: ids_digest(ids)?,
            batch: batch as u64,
            positions: positions as u64,
        };
        into.append(&rows, Some((entry, captured)))
    }
}

/// The layers of each point, in order.
fn layers(m: &Model, points: &CapturePoints) -> Result<BTreeMap<String, Vec<u64>>> {
    let count = m.loaded().decoder.spec().layers;
    let of = |point: &CapturePoint| {
        let layers = match point.point.in_block() {
            true => point.layers().resolve(count)?,
            false => Vec::new(),
        };
        Ok((point.point.name().to_owned(), layers.into_iter().map(|layer| layer as u64).collect()))
    };
    points.iter().map(of).collect()
}

/// The digest of token ids and of which of them are real.
fn ids_digest(ids: &Handle) -> Result<String> {
    let mut digest = Sha256::new();
    let value = ids.value();
    let tensor = value.real("token ids")?.to_dtype(DType::I64)?;
    let tensor = if tensor.rank() == 1 { tensor.unsqueeze(0)? } else { tensor };
    tensor.dims().iter().for_each(|size| digest.update((*size as u64).to_le_bytes()));
    digest.update(to_le_bytes(&Value::Real(tensor))?);
    if let Some(mask) = ids.mask() {
        let mask = mask.value().real("the mask")?.to_device(&Device::Cpu)?.flatten_all()?;
        let real = mask.to_vec1::<u8>()?;
        // A mask that leaves nothing out says what no mask says.
        if real.contains(&0) {
            digest.update(real);
        }
    }
    Ok(hex(&digest.finalize()))
}

/// The digest of a model and of how it computes.
fn model_digest(m: &Model) -> Result<String> {
    let loaded = m.loaded();
    if let Some(known) = loaded.digest.get() {
        return Ok(known.clone());
    }
    let digest = compute_digest(loaded)?;
    Ok(loaded.digest.get_or_init(|| digest).clone())
}

fn compute_digest(Loaded { checkpoint, decoder, .. }: &Loaded) -> Result<String> {
    if decoder.has_variables() {
        bail!(
            "capture: what a model with variables gives can't be kept in a store: its weights change"
        );
    }
    let mut to = Hashed(Sha256::new());
    let said = |to: &mut Hashed, text: &str| {
        to.0.update((text.len() as u64).to_le_bytes());
        to.0.update(text);
    };
    let Versions { precompute, candle, .. } = Versions::CURRENT;
    let config = serde_json::Value::Object(checkpoint.config.clone()).to_string();
    let (device, dtype) = (device::name(decoder.device()), format!("{:?}", decoder.dtype()));
    for text in [
        &*precompute,
        &*candle,
        config.as_str(),
        device.as_str(),
        dtype.as_str(),
        Cpu::chosen().name(),
    ] {
        said(&mut to, text);
    }
    let changed = decoder.changed_weights();
    for name in checkpoint.weights.names() {
        said(&mut to, &name);
        match changed.get(&name) {
            Some(tensor) => to.0.update(to_le_bytes(&Value::Real(tensor.clone()))?),
            None => checkpoint.weights.write(&name, &mut to)?,
        }
    }
    Ok(hex(&to.0.finalize()))
}

struct Hashed(Sha256);

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
