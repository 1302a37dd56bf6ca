//! Numbers of a picture's description in JSON, which has no word for NaN and infinity.

use serde::ser::{Serialize, SerializeSeq, Serializer};

/// Numbers nested to any depth.
pub(super) trait Numbers {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;
}

impl Numbers for f64 {
    /// A number in the fewest digits that give it back, of float32 if it is one of those; `"nan"`,
    /// `"inf"` and `"-inf"` for what is not finite.
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let single = *self as f32;
        match *self {
            x if x.is_nan() => to.serialize_str("nan"),
            x if x.is_infinite() => to.serialize_str(if x > 0.0 { "inf" } else { "-inf" }),
            x if x.fract() == 0.0 && x.abs() < 1e15 => to.serialize_i64(x as i64),
            x if f64::from(single) == x => to.serialize_f32(single),
            x => to.serialize_f64(x),
        }
    }
}

impl<T: Numbers> Numbers for Vec<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut list = to.serialize_seq(Some(self.len()))?;
        for item in self {
            list.serialize_element(&Written(item))?;
        }
        list.end()
    }
}

impl<T: Numbers> Numbers for Option<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(item) => item.write(to),
            None => to.serialize_none(),
        }
    }
}

struct Written<'a, T>(&'a T);

impl<T: Numbers> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

/// For `#[serde(serialize_with)]`.
///
/// # Errors
/// Those of the serializer.
pub(super) fn serialize<T: Numbers, S: Serializer>(numbers: &T, to: S) -> Result<S::Ok, S::Error> {
    numbers.write(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_come_back() {
        let written = |x: f64| serde_json::to_string(&Written(&x)).unwrap();
        assert_eq!(written(f64::from(0.1f32)), "0.1");
        assert_eq!(written(0.1), "0.1");
        assert_eq!(written(3.0), "3");
        assert_eq!(written(f64::NAN), "\"nan\"");
        assert_eq!(written(f64::NEG_INFINITY), "\"-inf\"");
        for x in [1e-300, 0.1 + 0.2, f64::MAX, -2.5e20] {
            assert_eq!(written(x).parse::<f64>().unwrap(), x);
        }
        let rows = vec![vec![1.0, f64::INFINITY]];
        assert_eq!(serde_json::to_string(&Written(&rows)).unwrap(), "[[1,\"inf\"]]");
    }
}
