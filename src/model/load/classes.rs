//! What transformers' config class of each family reads, and what it takes where config.json has no
//! such field: a table that `tests/oracle/classes.py` writes.
//!
//! A field that is in a class and that the family's reader does not read could change the result. A
//! field that is in none can't: transformers does not look at it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The config class of one family.
#[derive(Deserialize)]
pub struct Class {
    /// The fields with their defaults. Those of training, generation and bookkeeping are left out.
    pub fields: Map<String, Value>,
    /// Which of the fields may be null.
    nullable: Vec<String>,
    /// Other names of fields, as `hidden_size` of GPT-2's `n_embd`.
    pub others: BTreeMap<String, String>,
    /// What the model's code reads of a config although the class has no such field.
    also: Vec<String>,
}

impl Class {
    /// The class of a family, by its `model_type`.
    pub fn of(family: &str) -> Option<&'static Class> {
        static CLASSES: LazyLock<BTreeMap<String, Class>> = LazyLock::new(|| {
            serde_json::from_str(include_str!("classes.json")).expect("the table is JSON")
        });
        CLASSES.get(family)
    }

    /// Whether transformers reads a field of this name.
    pub fn reads(&self, name: &str) -> bool {
        self.fields.contains_key(name)
            || self.others.contains_key(name)
            || self.also.iter().any(|also| also == name)
    }

    /// Whether the class refuses null in this field.
    pub fn refuses_null(&self, name: &str) -> bool {
        self.fields.contains_key(name) && !self.nullable.iter().any(|nullable| nullable == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::family::FAMILIES;

    #[test]
    fn every_family_has_its_class() {
        for family in FAMILIES {
            let class = Class::of(family.name).unwrap_or_else(|| panic!("{}", family.name));
            assert!(class.reads("vocab_size") && class.refuses_null("vocab_size"));
            for field in class.others.values() {
                assert!(class.fields.contains_key(field), "{}: {field}", family.name);
            }
        }
    }
}
