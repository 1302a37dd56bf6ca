//! The objects of a pickle.

/// An object's position among all objects of the pickle.
pub type Id = u32;

/// An object of a pickle. Strings are slices of its bytes.
#[derive(Debug, PartialEq)]
pub enum Object<'a> {
    /// `None`.
    None,
    /// A bool.
    Bool(bool),
    /// An integer of at most 64 bits.
    Int(i64),
    /// A float.
    Float(f64),
    /// A string.
    Text(&'a str),
    /// Bytes, a set, or a larger integer, which no tensor is made of.
    Other,
    /// A class or a function, by name.
    Global { module: &'a str, name: &'a str },
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dict, as pairs of keys and values.
    Dict(Vec<(Id, Id)>),
    /// The result of a call that is not made.
    Call { callable: Id, arguments: Id },
    /// An object, and the state that it would be given.
    Built { object: Id, state: Id },
    /// An object outside the pickle, by its persistent id.
    Persistent(Id),
}
