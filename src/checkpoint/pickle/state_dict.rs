//! The tensors of a pickled state dict: each a view into a storage, checked before anything is made
//! of it.

use std::collections::{BTreeMap, HashMap};

use candle_core::DType;

use super::machine::{Id, Object, Objects};
use crate::{Result, bail, error};

/// The most dims that PyTorch gives a tensor.
const MOST_DIMS: usize = 64;

/// The longest name of a tensor or a storage.
const LONGEST_NAME: usize = 1024;

/// Where numbers stand, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Storage {
    /// What it is called in the archive.
    pub key: String,
    pub dtype: DType,
    /// Whether each byte is a bool.
    pub bools: bool,
}

/// A tensor: some numbers of a storage.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// Its place among the storages.
    pub storage: usize,
    pub shape: Vec<usize>,
    /// In elements.
    pub strides: Vec<usize>,
    /// In elements.
    pub offset: usize,
    pub elements: usize,
    /// One beyond the last element of the storage that it has; 0 where it has none.
    pub end: usize,
}

#[derive(Debug, Default)]
pub struct StateDict {
    pub storages: Vec<Storage>,
    pub tensors: BTreeMap<String, View>,
    /// Those that can't be read, and why.
    pub unreadable: BTreeMap<String, String>,
}

impl StateDict {
    /// The tensors of a pickled map from names to tensors. What else is in it is passed over.
    ///
    /// # Errors
    /// Bytes that are no pickle, or one of something else.
    pub fn read(pickle: &[u8]) -> Result<Self> {
        let objects = &Objects::read(pickle)?;
        let Object::Dict(entries) = objects.get(dict(objects)) else {
            bail!("it holds no map from names to tensors")
        };
        let mut reader = Reader { objects, storages: Vec::new(), known: HashMap::new() };
        let mut read = StateDict::default();
        for &(key, value) in entries {
            let (&Object::Text(name), Some(call)) = (objects.get(key), reader.tensor(value)) else {
                continue;
            };
            if name.len() > LONGEST_NAME {
                bail!("the name of a tensor has {} bytes", name.len());
            }
            // Of a name that comes twice, Python keeps the last.
            match call.and_then(|arguments| reader.view(arguments)) {
                Ok(view) => {
                    read.unreadable.remove(name);
                    read.tensors.insert(name.to_owned(), view);
                }
                Err(error) => {
                    read.tensors.remove(name);
                    read.unreadable.insert(name.to_owned(), error.message().to_owned());
                }
            }
        }
        read.storages = reader.storages;
        Ok(read)
    }
}

/// The dict of a pickle: its value, or the state of a TorchScript module.
fn dict(objects: &Objects) -> Id {
    if let Object::Built { object, state } = *objects.get(objects.value())
        && let Object::Call { callable, .. } = *objects.get(object)
        && let Object::Global { module: "__torch__", name: "Module" } = objects.get(callable)
    {
        return state;
    }
    objects.value()
}

struct Reader<'a, 'b> {
    objects: &'b Objects<'a>,
    storages: Vec<Storage>,
    /// The place of each storage that was met.
    known: HashMap<Id, usize>,
}

impl Reader<'_, '_> {
    /// The arguments that PyTorch rebuilds a tensor from; nothing where the object is none.
    fn tensor(&self, id: Id) -> Option<Result<Id>> {
        let Object::Call { callable, arguments } = *self.objects.get(id) else { return None };
        let arguments = match *self.objects.get(callable) {
            Object::Global { module: "torch._utils", name: "_rebuild_tensor_v2" } => Ok(arguments),
            Object::Global { module: "torch._utils", name: "_rebuild_parameter" } => {
                self.within(arguments)
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

    /// Those of the tensor in a parameter.
    fn within(&self, arguments: Id) -> Result<Id> {
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

    /// storage, offset, shape, strides, and what has no effect here.
    fn view(&mut self, arguments: Id) -> Result<View> {
        let &[storage, offset, shape, strides, ..] = self.items(arguments)? else {
            bail!("it is rebuilt from too few arguments")
        };
        let offset = self.size(offset).ok_or_else(|| error!("its offset is none"))?;
        let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() || shape.len() > MOST_DIMS {
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

    /// `('storage', torch.FloatStorage, '0', 'cpu', 12)`
    fn storage(&mut self, id: Id) -> Result<usize> {
        if let Some(&known) = self.known.get(&id) {
            return Ok(known);
        }
        let Object::Persistent(parts) = *self.objects.get(id) else { bail!("it has no storage") };
        let &[_, class, key, ..] = self.items(parts)? else {
            bail!("its storage is not described")
        };
        let (&Object::Global { name, .. }, &Object::Text(key)) =
            (self.objects.get(class), self.objects.get(key))
        else {
            bail!("its storage is not described")
        };
        let dtype = match name {
            "FloatStorage" => DType::F32,
            "DoubleStorage" => DType::F64,
            "HalfStorage" => DType::F16,
            "BFloat16Storage" => DType::BF16,
            "ByteStorage" | "BoolStorage" => DType::U8,
            "ShortStorage" => DType::I16,
            "IntStorage" => DType::I32,
            "LongStorage" => DType::I64,
            other => bail!("it stands in a {other}, which is not supported"),
        };
        if key.len() > LONGEST_NAME {
            bail!("the name of its storage has {} bytes", key.len());
        }
        let place = self.storages.len();
        self.storages.push(Storage { key: key.to_owned(), dtype, bools: name == "BoolStorage" });
        self.known.insert(id, place);
        Ok(place)
    }

    fn items(&self, id: Id) -> Result<&[Id]> {
        match self.objects.get(id) {
            Object::Tuple(items) | Object::List(items) => Ok(items),
            _ => bail!("it is rebuilt from what is no tuple"),
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match *self.objects.get(id) {
            Object::Int(n) => usize::try_from(n).ok(),
            _ => None,
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>> {
        let items = self.items(id)?;
        if items.len() > MOST_DIMS {
            bail!("it has {} dims", items.len());
        }
        let sizes = items.iter().map(|&n| self.size(n)).collect::<Option<_>>();
        sizes.ok_or_else(|| error!("its shape or its strides are none"))
    }
}
