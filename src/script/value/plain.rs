//! Values without identity: numbers, strings, ranges.

use rhai::Dynamic;

/// The text that determines a value, if its type and that text are all there is to it: two such
/// values of one type are equal if and only if their texts are.
pub fn plain(value: &Dynamic) -> Option<String> {
    if let Ok(number) = value.as_float() {
        return Some(number.to_bits().to_string());
    }
    let range = value.read_lock::<std::ops::Range<i64>>().map(|range| format!("{range:?}"));
    let range = range.or_else(|| {
        value.read_lock::<std::ops::RangeInclusive<i64>>().map(|range| format!("{range:?}"))
    });
    let known = value.is_unit()
        || value.is_bool()
        || value.is_int()
        || value.is_char()
        || value.is_string();
    range.or_else(|| known.then(|| value.to_string()))
}
