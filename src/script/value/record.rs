//! The maps that functions return, such as `#{values, indices}`. A record behaves like a map of the
//! script's own, except that reading an unknown key is an error that names the nearest key, while a
//! map returns `()`.

use std::any::TypeId;

use rhai::{Array, Dynamic, FnPtr, ImmutableString, Map, NativeCallContext};

use crate::script::declare::{Declaration, Gradient, OnGpu, Purity, Registry};
use crate::script::errors::error::ScriptResult;
use crate::{Error, did_you_mean, error};

/// A map that a function returned.
#[derive(Clone, Default)]
pub struct Record(Map);

impl Record {
    /// A record, with every map within it turned into a record too.
    pub fn deep(map: Map) -> Self {
        map.into_iter().map(|(key, value)| (key, Self::within(value))).collect()
    }

    /// The value, with every map in it turned into a record.
    pub fn within(value: Dynamic) -> Dynamic {
        if value.is_map() {
            return Dynamic::from(Self::deep(value.cast::<Map>()));
        }
        if value.is_array() {
            return value.cast::<Array>().into_iter().map(Self::within).collect::<Array>().into();
        }
        value
    }

    /// The entries.
    pub fn map(&self) -> &Map {
        &self.0
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Dynamic> {
        self.0.values_mut()
    }

    fn get(&self, key: &str) -> Result<Dynamic, Error> {
        self.0.get(key).cloned().ok_or_else(|| {
            let error = error!("this map has no key {key:?}");
            match did_you_mean(key, self.0.keys().map(|key| key.as_str())) {
                Some(help) => error.help(help),
                None => error.help(
                    "its .keys() are those it has; \"key\" in map tells whether there is one",
                ),
            }
        })
    }
}

impl<K: AsRef<str>> FromIterator<(K, Dynamic)> for Record {
    fn from_iter<I: IntoIterator<Item = (K, Dynamic)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(key, value)| (key.as_ref().into(), value)).collect())
    }
}

impl From<Map> for Record {
    fn from(map: Map) -> Self {
        Self(map)
    }
}

/// The entries of a map or a record.
pub fn read(value: &Dynamic) -> Option<Map> {
    match value.read_lock::<Record>() {
        Some(record) => Some(record.0.clone()),
        None => value.read_lock::<Map>().map(|map| map.clone()),
    }
}

/// Registers what a record has of a map: each is Rhai's own.
pub fn install(registry: &mut Registry) {
    registry.type_name::<Record>("map");
    registry
        .declare("map[…]", Purity::Pure, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .index_get(|of: &mut Record, key: &str| -> ScriptResult<Dynamic> { Ok(of.get(key)?) });
    registry
        .declare("map[…] = x", Purity::ChangesReceiver, OnGpu::NO_TENSORS, Gradient::NoTensors)
        .index_set(|of: &mut Record, key: &str, value: Dynamic| {
            of.0.insert(key.into(), value);
        });
    let [text, map, function, any] = [
        TypeId::of::<ImmutableString>(),
        TypeId::of::<Map>(),
        TypeId::of::<FnPtr>(),
        TypeId::of::<Dynamic>(),
    ];
    let record = TypeId::of::<Record>();
    let mut pass_on = |name: &'static str, purity: Purity, types: &[TypeId]| {
        pass_on(registry.declare(name, purity, OnGpu::NO_TENSORS, Gradient::NoTensors), types);
    };
    for name in ["keys", "values", "len", "is_empty", "to_json", "to_string", "to_debug"] {
        pass_on(name, Purity::Pure, &[record]);
    }
    pass_on("clear", Purity::ChangesReceiver, &[record]);
    pass_on("contains", Purity::Pure, &[record, text]);
    pass_on("get", Purity::Pure, &[record, text]);
    pass_on("remove", Purity::ChangesReceiver, &[record, text]);
    pass_on("set", Purity::ChangesReceiver, &[record, text, any]);
    pass_on("filter", Purity::Pure, &[record, function]);
    pass_on("map", Purity::Pure, &[record, function]);
    pass_on("drain", Purity::ChangesReceiver, &[record, function]);
    pass_on("retain", Purity::ChangesReceiver, &[record, function]);
    for sides in [[record, map], [map, record], [record, record]] {
        for name in ["+", "==", "!="] {
            pass_on(name, Purity::Pure, &sides);
        }
        for name in ["+=", "mixin", "fill_with"] {
            pass_on(name, Purity::ChangesReceiver, &sides);
        }
    }
}

/// Registers a function as what it is with maps in the places of records.
fn pass_on(declaration: Declaration, types: &[TypeId]) {
    let name = declaration.name();
    declaration.raw(types, move |call: NativeCallContext, arguments| -> ScriptResult<Dynamic> {
        let mut maps: Vec<Dynamic> = arguments
            .iter()
            .map(|argument| {
                argument
                    .read_lock::<Record>()
                    .map_or_else(|| (**argument).clone(), |of| of.0.clone().into())
            })
            .collect();
        let mut given: Vec<&mut Dynamic> = maps.iter_mut().collect();
        let value = call.call_native_fn_raw(name, true, &mut given)?;
        // What changed of the first is written back.
        if let Some(mut first) =
            arguments.first_mut().and_then(|first| first.write_lock::<Record>())
            && let Some(changed) = maps.first_mut().and_then(|map| map.write_lock::<Map>())
        {
            first.0.clone_from(&changed);
        }
        Ok(value)
    });
}
