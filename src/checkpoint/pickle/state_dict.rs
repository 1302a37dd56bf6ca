//! The tensors of a pickled state dict. Each is a view of a storage, and is checked before anything
//! is allocated for it.

use std::collections::{BTreeMap, HashMap};

use candle_core::DType;

use super::machine::Objects;
use super::object::{Id, Object};
use crate::{Result, bail, error};

/// The most dims of a tensor in PyTorch.
const MAX_DIMS: usize = 64;

/// The longest name of a tensor or a storage in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// How many values of a pickle are looked at, and how deep they may nest: one object may stand in
/// many places, so that a small pickle could have more values than any memory holds.
const MAX_MET: usize = 1 << 20;
const MAX_DEPTH: usize = 64;

/// Elements of one dtype in one piece.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// Its name in the archive.
    pub key: String,
    /// The dtype of its elements.
    pub dtype: DType,
    /// Whether each element is a bool; its dtype is u8 then.
    pub bools: bool,
}

/// A tensor as a view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The storage's position in [`StateDict::storages`].
    pub storage: usize,
    /// The shape.
    pub shape: Vec<usize>,
    /// The strides in elements.
    pub strides: Vec<usize>,
    /// The position of its first element in the storage.
    pub offset: usize,
    /// The product of the shape.
    pub elements: usize,
    /// The position after its last element in the storage; 0 if it has no elements.
    pub end: usize,
}

/// A map from names to tensors.
#[derive(Debug, Default)]
pub struct StateDict {
    /// Every storage that a tensor is a view of.
    pub storages: Vec<Storage>,
    /// The tensors by name.
    pub tensors: BTreeMap<String, View>,
    /// The names of tensors that can't be read, and the reasons.
    pub unreadable: BTreeMap<String, String>,
}

/// Where a training loop keeps the tensors in what it saves, beside its own state.
const WITHIN: [&str; 4] = ["state_dict", "model_state_dict", "model", "module"];

impl StateDict {
    /// Reads every tensor of a pickle's objects: one alone under an empty name; of maps, lists and tuples
    /// under the keys and places that lead to it, with dots between. Values that are no tensors are
    /// ignored.
    ///
    /// # Errors
    /// What is in it nests too deeply or repeats itself too often.
    pub fn of_nested(objects: &Objects) -> Result<Self> {
        let mut reader = Reader { objects, storages: Vec::new(), known: HashMap::new() };
        let mut read = StateDict::default();
        let mut waiting = vec![(String::new(), dict(objects), 0)];
        let mut met = 1;
        while let Some((name, value, depth)) = waiting.pop() {
            // Counted before they wait, since a list may stand in itself.
            met += match objects.get(value) {
                Object::Dict(entries) => entries.len(),
                Object::List(items) | Object::Tuple(items) => items.len(),
                _ => 0,
            };
            if met > MAX_MET || depth > MAX_DEPTH {
                bail!(
                    "it has more than {MAX_MET} values, or values nested more than {MAX_DEPTH} deep"
                );
            }
            if name.len() > MAX_NAME_BYTES {
                bail!("the name of a tensor has {} bytes", name.len());
            }
            let within = |key: String| match name.is_empty() {
                true => key,
                false => format!("{name}.{key}"),
            };
            match objects.get(value) {
                Object::Dict(entries) => {
                    waiting.extend(entries.iter().rev().filter_map(|&(key, value)| {
                        let key = match objects.get(key) {
                            Object::Text(key) => (*key).to_owned(),
                            Object::Int(key) => key.to_string(),
                            _ => return None,
                        };
                        Some((within(key), value, depth + 1))
                    }))
                }
                Object::List(items) | Object::Tuple(items) => waiting.extend(
                    items
                        .iter()
                        .enumerate()
                        .rev()
                        .map(|(i, &item)| (within(i.to_string()), item, depth + 1)),
                ),
                _ => {
                    if let Some(call) = reader.tensor(value) {
                        read.insert(&name, call.and_then(|arguments| reader.view(arguments)));
                    }
                }
            }
        }
        read.storages = reader.storages;
        Ok(read)
    }

    /// Adds a tensor, or why it can't be read. If a name comes twice, the last value counts, as in
    /// Python.
    fn insert(&mut self, name: &str, view: Result<View>) {
        match view {
            Ok(view) => {
                self.unreadable.remove(name);
                self.tensors.insert(name.to_owned(), view);
            }
            Err(error) => {
                self.tensors.remove(name);
                self.unreadable.insert(name.to_owned(), error.message().to_owned());
            }
        }
    }

    /// Reads a map from names to tensors. Values that are no tensors are ignored.
    ///
    /// # Errors
    /// The pickle holds something else.
    pub fn of(objects: &Objects) -> Result<Self> {
        let Object::Dict(entries) = objects.get(dict(objects)) else {
            bail!("it holds no map from names to tensors")
        };
        let within = |name: &&str| {
            let named =
                entries.iter().rev().find(|(key, _)| *objects.get(*key) == Object::Text(name));
            named.map(|(_, value)| objects.get(*value))
        };
        let entries = match WITHIN.iter().find_map(within) {
            Some(Object::Dict(inner)) => inner,
            _ => entries,
        };
        let mut reader = Reader { objects, storages: Vec::new(), known: HashMap::new() };
        let mut read = StateDict::default();
        for &(key, value) in entries {
            let (&Object::Text(name), Some(call)) = (objects.get(key), reader.tensor(value)) else {
                continue;
            };
            if name.len() > MAX_NAME_BYTES {
                bail!("the name of a tensor has {} bytes", name.len());
            }
            read.insert(name, call.and_then(|arguments| reader.view(arguments)));
        }
        read.storages = reader.storages;
        Ok(read)
    }
}

/// The dtype of a storage's elements, by the storage's class.
fn dtype(class: &str) -> Option<DType> {
    Some(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "ByteStorage" | "BoolStorage" => DType::U8,
        "ShortStorage" => DType::I16,
        "IntStorage" => DType::I32,
        "LongStorage" => DType::I64,
        _ => return None,
    })
}

/// The size of an element in bytes of every storage that a pickle names, by the storage's key.
pub fn element_sizes<'a>(objects: &Objects<'a>) -> BTreeMap<&'a str, usize> {
    let size = |object: &Object<'a>| {
        let Object::Persistent(parts) = object else { return None };
        let (Object::Tuple(parts) | Object::List(parts)) = objects.get(*parts) else { return None };
        let &[_, class, key, ..] = &parts[..] else { return None };
        match (objects.get(class), objects.get(key)) {
            (&Object::Global { name, .. }, &Object::Text(key)) => {
                let size = match name {
                    "CharStorage" => 1,
                    "ComplexFloatStorage" => 8,
                    "ComplexDoubleStorage" => 16,
                    _ => dtype(name)?.size_in_bytes(),
                };
                Some((key, size))
            }
            _ => None,
        }
    };
    objects.all().iter().filter_map(size).collect()
}

/// The dict in a pickle: its value, or the state of a TorchScript module.
fn dict(objects: &Objects) -> Id {
    if let Object::Built { object, state } = *objects.get(objects.value())
        && let Object::Call { callable, .. } = *objects.get(object)
        && let Object::Global { module: "__torch__", name: "Module" } = objects.get(callable)
    {
        return state;
    }
    objects.value()
}

/// Reads tensors, and numbers their storages.
struct Reader<'a, 'b> {
    objects: &'b Objects<'a>,
    storages: Vec<Storage>,
    /// The position in `storages` of each storage so far.
    known: HashMap<Id, usize>,
}

impl Reader<'_, '_> {
    /// The arguments that PyTorch rebuilds a tensor from; nothing if the object is no tensor.
    fn tensor(&self, id: Id) -> Option<Result<Id>> {
        let Object::Call { callable, arguments } = *self.objects.get(id) else { return None };
        let arguments = match *self.objects.get(callable) {
            Object::Global { module: "torch._utils", name: "_rebuild_tensor_v2" } => Ok(arguments),
            Object::Global { module: "torch._utils", name: "_rebuild_parameter" } => {
                self.parameter(arguments)
            }
            Object::Global { module: "torch._tensor", name: "_rebuild_from_type_v2" } => {
                match self.items(arguments) {
                    Ok(&[_, _, arguments, ..]) => Ok(arguments),
                    _ => Err(error!("it is rebuilt from too few arguments")),
                }
            }
            Object::Global { module, name } => {
                Err(error!("it is made by {module}.{name}, which is not supported"))
            }
            _ => Err(error!("it is made by no function")),
        };
        Some(arguments)
    }

    /// The arguments of the tensor in a parameter.
    fn parameter(&self, arguments: Id) -> Result<Id> {
        match self.items(arguments)? {
            &[tensor, ..] => match *self.objects.get(tensor) {
                Object::Call { callable, arguments }
                    if matches!(
                        self.objects.get(callable),
                        Object::Global { module: "torch._utils", name: "_rebuild_tensor_v2" }
                    ) =>
                {
                    Ok(arguments)
                }
                _ => bail!("it is a parameter without a tensor"),
            },
            [] => bail!("it is rebuilt from too few arguments"),
        }
    }

    /// The view of the arguments (storage, offset, shape, strides, …) of `_rebuild_tensor_v2`.
    fn view(&mut self, arguments: Id) -> Result<View> {
        let &[storage, offset, shape, strides, ..] = self.items(arguments)? else {
            bail!("it is rebuilt from too few arguments")
        };
        let offset = self.size(offset).ok_or_else(|| error!("its offset is none"))?;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() || shape.len() > MAX_DIMS {
            bail!("it has {} dims and {} strides", shape.len(), strides.len());
        }
        let storage = self.storage(storage)?;
        let size = self.storages[storage].dtype.size_in_bytes();
        let too_large =
            || error!("its shape {shape:?} with strides {strides:?} is larger than any storage");
        let product = shape.iter().try_fold(1usize, |product, n| product.checked_mul((*n).max(1)));
        let elements = if shape.contains(&0) { 0 } else { product.ok_or_else(too_large)? };
        let furthest = shape.iter().zip(&strides).try_fold(offset, |furthest, (n, stride)| {
            furthest.checked_add(n.saturating_sub(1).checked_mul(*stride)?)
        });
        let end = furthest.and_then(|furthest| furthest.checked_add(1)).ok_or_else(too_large)?;
        if product
            .unwrap_or(usize::MAX)
            .max(end)
            .checked_mul(size)
            .is_none_or(|bytes| isize::try_from(bytes).is_err())
        {
            return Err(too_large());
        }
        let end = if elements == 0 { 0 } else { end };
        Ok(View { storage, shape, strides, offset, elements, end })
    }

    /// The position of the storage `('storage', torch.FloatStorage, '0', 'cpu', 12)`, which is
    /// added if it is new.
    fn storage(&mut self, id: Id) -> Result<usize> {
        if let Some(&known) = self.known.get(&id) {
            return Ok(known);
        }
        let Object::Persistent(parts) = *self.objects.get(id) else { bail!("it has no storage") };
        let &[_, class, key, ref rest @ ..] = self.items(parts)? else {
            bail!("its storage is not described")
        };
        let (&Object::Global { name, .. }, &Object::Text(key)) =
            (self.objects.get(class), self.objects.get(key))
        else {
            bail!("its storage is not described")
        };
        // Before PyTorch 1.6 a storage could be a view of another.
        if let Some(&view) = rest.get(2)
            && *self.objects.get(view) != Object::None
        {
            bail!("its storage is a part of another, which is not supported");
        }
        let Some(dtype) = dtype(name) else {
            bail!("it stands in a {name}, which is not supported")
        };
        if key.len() > MAX_NAME_BYTES {
            bail!("the name of its storage has {} bytes", key.len());
        }
        let place = self.storages.len();
        self.storages.push(Storage { key: key.to_owned(), dtype, bools: name == "BoolStorage" });
        self.known.insert(id, place);
        Ok(place)
    }

    /// The items of a tuple or a list.
    fn items(&self, id: Id) -> Result<&[Id]> {
        match self.objects.get(id) {
            Object::Tuple(items) | Object::List(items) => Ok(items),
            _ => bail!("it is rebuilt from what is no tuple"),
        }
    }

    /// An integer that is not negative.
    fn size(&self, id: Id) -> Option<usize> {
        match *self.objects.get(id) {
            Object::Int(n) => usize::try_from(n).ok(),
            _ => None,
        }
    }

    /// The integers of a shape or of strides.
    fn sizes(&self, id: Id) -> Result<Vec<usize>> {
        let items = self.items(id)?;
        if items.len() > MAX_DIMS {
            bail!("it has {} dims", items.len());
        }
        let sizes = items.iter().map(|&n| self.size(n)).collect::<Option<_>>();
        sizes.ok_or_else(|| error!("its shape or its strides are none"))
    }
}
