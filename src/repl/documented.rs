//! What the reference says of a function, for completion: the keys of its options, and the fields
//! of what it gives.

use std::collections::BTreeSet;

use crate::script::declare::Declarations;

/// The keys of a function's options: those that it declares, and those that stand between `#{` and
/// `}` where the reference speaks of the function, in its words or its examples.
pub fn keys(declarations: &Declarations, function: &str) -> BTreeSet<String> {
    let rows = declarations.rows().filter(|row| row.name() == function);
    let spoken_of = rows.flat_map(|row| [keys_in(&row.gives), keys_in(&row.example)]).flatten();
    spoken_of.chain(declarations.options(function).map(str::to_owned)).collect()
}

/// The fields of the map that a function gives: those that its keys name, and those that examples
/// read.
pub fn fields(declarations: &Declarations, function: &str) -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    for row in declarations.rows().filter(|row| row.name() == function) {
        // Between parentheses stand its arguments.
        let gives: String =
            row.gives.split('(').map(|part| part.rsplit(')').next().unwrap_or_default()).collect();
        fields.extend(keys_in(gives.split("options").next().unwrap_or_default()));
        for (at, call) in row.example.match_indices(&format!("{function}(")) {
            let rest = &row.example[at + call.len()..];
            let field = closing(rest).and_then(|end| rest[end + 1..].strip_prefix('.'));
            let name: String = field
                .unwrap_or_default()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            fields.extend((!name.is_empty()).then_some(name));
        }
    }
    fields
}

/// Where the parenthesis closes that is open before `rest`.
fn closing(rest: &str) -> Option<usize> {
    let mut open = 1;
    rest.char_indices().find_map(|(at, c)| {
        open += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        (open == 0).then_some(at)
    })
}

fn keys_in(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for (at, _) in text.match_indices("#{") {
        let inside = text[at + 2..].split('}').next().unwrap_or_default();
        let mut depth = 0;
        let mut parts = vec![String::new()];
        for c in inside.chars() {
            depth += match c {
                '[' | '(' => 1,
                ']' | ')' => -1,
                _ => 0,
            };
            match (c, depth) {
                (',', 0) => parts.push(String::new()),
                (c, _) => parts.last_mut().into_iter().for_each(|part| part.push(c)),
            }
        }
        let name = |part: &String| part.split(':').next().unwrap_or_default().trim().to_owned();
        let is_name = |name: &String| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_')
        };
        keys.extend(parts.iter().map(name).filter(is_name));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::{Host, Settings};

    #[test]
    fn the_reference_knows_options_and_fields() {
        let host = Host::new(Settings::default()).unwrap();
        let declarations = host.declarations();
        let keys = |function: &str| keys(&declarations, function);
        let fields = |function: &str| fields(&declarations, function);
        let names = |found: BTreeSet<String>| found.into_iter().collect::<Vec<_>>().join(" ");
        assert!(
            ["logits", "loss", "mask", "stop"].iter().all(|key| keys("forward").contains(*key))
        );
        assert!(names(keys("sum")).contains("dim keepdim"));
        assert!(names(keys("hook")).contains("layers"));
        assert_eq!(names(fields("svd")), "s u vh");
        assert!(!fields("topk").contains("largest"));
        assert!(["indices", "values"].iter().all(|field| fields("topk").contains(*field)));
        assert!(fields("heads").contains("w_q"));
    }
}
