//! `:save`: the session as a script that runs.

use std::path::Path;

use super::lexer::{Kind, Token, partners, tokens};
use crate::error;
use crate::script::Failure;
use crate::script::session::workspace::{Done, Workspace};

/// Writes the session to `path`, replacing the file when it is complete.
///
/// # Errors
/// The session is not valid as one script, or the file can't be written.
pub fn save(workspace: &Workspace, path: &Path) -> Result<(), Failure> {
    let text = compose(workspace);
    workspace.host().check(&text).map_err(|failure| {
        Failure::from(error!("the session can't be written as one script: {}", failure.message()))
    })?;
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let cannot = |cause: &dyn std::fmt::Display| {
        Failure::from(error!("{} can't be written: {cause}", path.display()))
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|cause| cannot(&cause))?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|cause| cannot(&cause))?;
    file.persist(path).map_err(|cause| cannot(&cause.error))?;
    Ok(())
}

/// The inputs of the session, in order. Of an input that failed, the statements before the failure;
/// of a function that was defined several times, the last definition. Inputs that only showed a
/// value are left out.
pub fn compose(workspace: &Workspace) -> String {
    script(&workspace.record())
}

fn script(record: &[Done]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut later: Vec<Signature> = Vec::new();
    for done in record.iter().rev().filter(|done| !done.looks) {
        let mut text = effective(done);
        for function in functions(&text).into_iter().rev() {
            if later.contains(&function.signature) {
                text.replace_range(function.start..function.end, "");
            } else {
                later.push(function.signature);
            }
        }
        parts.push(terminated(text.trim()));
    }
    parts.reverse();
    let mut script = format!("// A session of precompute {}\n", env!("CARGO_PKG_VERSION"));
    for part in parts.iter().filter(|part| !part.is_empty()) {
        script.push_str(part);
        script.push('\n');
    }
    script
}

/// The part of an input that had an effect.
fn effective(done: &Done) -> String {
    let text = &done.text;
    let kept = match (done.failed, done.definitions) {
        (_, true) => 0,
        (None, false) => return text.clone(),
        (Some(at), false) => last_statement(text, at),
    };
    let mut effective = text[..kept].to_owned();
    let rest = &text[kept..];
    let mut spans: Vec<(usize, usize)> =
        functions(rest).into_iter().map(|function| (function.start, function.end)).collect();
    if done.definitions {
        spans.extend(declarations(rest));
        spans.sort_unstable();
    }
    for (start, end) in spans {
        effective.push_str(&rest[start..end]);
        effective.push('\n');
    }
    effective
}

/// The positions in `tokens` of those outside all brackets.
fn top_level(tokens: &[Token]) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            _ if depth == 0 => found.push(i),
            _ => {}
        }
    }
    found
}

/// Where the last statement ends that is complete before `at`; 0 if there is none.
fn last_statement(text: &str, at: usize) -> usize {
    let tokens = tokens(text);
    let ends = top_level(&tokens)
        .into_iter()
        .map(|i| tokens[i])
        .filter(|token| &text[token.start..token.end] == ";");
    ends.map(|token| token.end).rfind(|end| *end <= at).unwrap_or(0)
}

/// A function's name and number of parameters.
type Signature = (String, usize);

/// A function's definition and where it stands in the text, with its doc comment.
struct Definition {
    signature: Signature,
    start: usize,
    end: usize,
}

/// The function definitions of a text, in order.
fn functions(text: &str) -> Vec<Definition> {
    let tokens = tokens(text);
    let pairs = partners(text, &tokens);
    let word = |i: usize| tokens.get(i).map_or("", |token: &Token| &text[token.start..token.end]);
    let close = |open: usize| pairs.iter().find(|(a, _)| *a == open).map(|(_, b)| *b);
    let find = |i: usize| -> Option<Definition> {
        if word(i) != "fn" {
            return None;
        }
        let name = tokens.get(i + 1).filter(|token| token.kind == Kind::Word)?;
        let parameters_end = close(i + 2)?;
        let body_end = close(parameters_end + 1)?;
        let parameters = (i + 2..parameters_end).filter(|&p| tokens[p].kind == Kind::Word).count();
        let mut first = if i > 0 && word(i - 1) == "private" { i - 1 } else { i };
        while first > 0 && word(first - 1).starts_with("///") {
            first -= 1;
        }
        let signature = (text[name.start..name.end].to_owned(), parameters);
        Some(Definition { signature, start: tokens[first].start, end: tokens[body_end].end })
    };
    top_level(&tokens).into_iter().filter_map(find).collect()
}

/// Where the `import` and `const` statements of a text begin and end.
fn declarations(text: &str) -> Vec<(usize, usize)> {
    let tokens = tokens(text);
    let outside = top_level(&tokens);
    let word = |i: usize| &text[tokens[i].start..tokens[i].end];
    let begin = outside.iter().filter(|&&i| matches!(word(i), "import" | "const"));
    let end = |begin: usize| {
        outside.iter().find(|&&i| i > begin && word(i) == ";").map(|&i| tokens[i].end)
    };
    begin.map(|&i| (tokens[i].start, end(i).unwrap_or(text.len()))).collect()
}

/// The text with a semicolon at its end, if it needs one before another statement.
fn terminated(text: &str) -> String {
    let tokens = tokens(text);
    let Some(last) = tokens.iter().rfind(|token| token.kind != Kind::Comment) else {
        return text.to_owned();
    };
    let ends_itself = match &text[last.start..last.end] {
        ";" => true,
        "}" => functions(text).iter().any(|function| function.end == last.end),
        _ => false,
    };
    if ends_itself {
        text.to_owned()
    } else {
        format!("{};{}", &text[..last.end], &text[last.end..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(text: &str, failed: Option<usize>) -> Done {
        Done { text: text.into(), failed, definitions: false, looks: false }
    }

    fn body(record: &[Done]) -> String {
        script(record).lines().skip(1).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn inputs_become_statements() {
        let record = [
            "let a = 1",
            "a + 1 // two",
            "if a > 1 { 2 }",
            "fn f(x) { x }",
            "let g = || { 1 };",
            "// alone",
        ];
        let record = record.map(|text| done(text, None));
        let expected = "let a = 1;\na + 1; // two\nif a > 1 { 2 };\nfn f(x) { x }\nlet g = || { 1 };\n// alone";
        assert_eq!(body(&record), expected);
    }

    #[test]
    fn of_a_function_the_last_definition_stands() {
        let record = [
            done("/// Adds.\nprivate fn f(x, y) { x }", None),
            done("fn f(x) { 1 } let a = f(1);", None),
            done("fn f(x) { 2 }", None),
        ];
        assert_eq!(
            body(&record),
            "/// Adds.\nprivate fn f(x, y) { x }\nlet a = f(1);\nfn f(x) { 2 }"
        );
    }

    #[test]
    fn of_what_failed_stands_what_took_effect() {
        let text = "let a = 1; let b = [f(1); 2]; throw a; fn g() { 1 } let c = 3;";
        let record = [done(text, Some(text.find("throw").unwrap()))];
        assert_eq!(body(&record), "let a = 1; let b = [f(1); 2];fn g() { 1 }");
        assert_eq!(body(&[done("nothing()", Some(0))]), "");
    }

    #[test]
    fn of_a_file_that_is_watched_stand_its_definitions() {
        let mut file =
            done("import \"a\" as a;\nlet x = 1;\nconst C = [1, 2];\nfn f() { C }\nf();", None);
        file.definitions = true;
        assert_eq!(body(&[file]), "import \"a\" as a;\nconst C = [1, 2];\nfn f() { C }");
    }
}
