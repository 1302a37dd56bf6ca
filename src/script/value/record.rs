//! The maps that functions return, such as `#{values, indices}`. A record behaves like a map of the
//! script's own, except that reading an unknown key is an error that names the nearest key, while a
//! map returns `()`.

use std::any::TypeId;

use rhai::{Array, Dynamic, Engine, FnPtr, ImmutableString, Map, NativeCallContext};

use crate::script::errors::error::ScriptResult;
use crate::{Error, did_you_mean, error};

/// A map that a function returned.
#[derive(Clone, Default)]
pub struct Record(Map);

impl Record {
    /// A record, with every map within it turned into a record too.
    pub fn deep(map: Map) -> Self {
        map.into_iter().map(|(key, value)| (key, within(value))).collect()
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

/// The value, with every map in it turned into a record.
fn within(value: Dynamic) -> Dynamic {
    if value.is_map() {
        return Dynamic::from(Record::deep(value.cast::<Map>()));
    }
    if value.is_array() {
        return value.cast::<Array>().into_iter().map(within).collect::<Array>().into();
    }
    value
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

/// Registers the functions that records share with maps.
pub fn install(engine: &mut Engine) {
    engine.register_type_with_name::<Record>("map");
    engine.register_indexer_get(|of: &mut Record, key: &str| -> ScriptResult<Dynamic> {
        Ok(of.get(key)?)
    });
    engine.register_indexer_set(|of: &mut Record, key: &str, value: Dynamic| {
        of.0.insert(key.into(), value);
    });
    let [text, map, function, any] = [
        TypeId::of::<ImmutableString>(),
        TypeId::of::<Map>(),
        TypeId::of::<FnPtr>(),
        TypeId::of::<Dynamic>(),
    ];
    let record = TypeId::of::<Record>();
    for name in ["keys", "values", "len", "is_empty", "clear", "to_json", "to_string", "to_debug"] {
        pass_on(engine, name, &[record]);
    }
    for name in ["contains", "get", "remove"] {
        pass_on(engine, name, &[record, text]);
    }
    pass_on(engine, "set", &[record, text, any]);
    for name in ["filter", "map", "drain", "retain"] {
        pass_on(engine, name, &[record, function]);
    }
    for name in ["+", "+=", "mixin", "fill_with", "==", "!="] {
        for sides in [[record, map], [map, record], [record, record]] {
            pass_on(engine, name, &sides);
        }
    }
}

/// Registers `name` for records as what it does for maps.
fn pass_on(engine: &mut Engine, name: &'static str, types: &[TypeId]) {
    engine.register_raw_fn(
        name,
        types,
        move |call: NativeCallContext, arguments| -> ScriptResult<Dynamic> {
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
            // A method may change the value before the dot.
            if let Some(mut first) =
                arguments.first_mut().and_then(|first| first.write_lock::<Record>())
                && let Some(changed) = maps.first_mut().and_then(|map| map.write_lock::<Map>())
            {
                first.0.clone_from(&changed);
            }
            Ok(value)
        },
    );
}
