//! `:watch`: a file's functions taken anew while a session goes on.

use crate::binary::Workplace;
use crate::terminal::{CTRL_D, Terminal};

const LOG: &str = r#"
fn log(x, ctx) {
    if "seen" !in ctx { ctx.seen = []; }
    ctx.seen += word();
}
fn word() { "one" }
"#;

fn start(here: &Workplace) -> Terminal {
    let mut repl = Terminal::start(here.path(), &["repl", "--model", "demo:gpt-neox"], &[]);
    let said = repl.enter(":watch hooks.rhai");
    assert_eq!(said, "watching hooks.rhai");
    repl.enter("let ids = m.encode(\"Mary went\");");
    repl
}

#[test]
fn a_change_binds_the_functions_anew_and_keeps_all_else() {
    let here = Workplace::new(&[("hooks.rhai", LOG)]);
    let mut repl = start(&here);
    repl.enter("let made = |x, ctx| { ctx.made = word(); };");
    repl.enter(
        "let ctx = context([hook(\"logits\", log), hook(\"post-mlp\", made, #{layers: 0})]);",
    );
    repl.enter("m.forward(ids, ctx); ctx.kept = tensor([7]);");
    assert_eq!(repl.enter("ctx.seen"), "[\"one\"]");
    // As many editors save: another file takes the first's place.
    here.write("new", LOG.replace("\"one\"", "\"two\"").as_bytes());
    std::fs::rename(here.path().join("new"), here.path().join("hooks.rhai")).unwrap();
    repl.until("hooks.rhai has changed: the next input takes it");
    let said = repl.enter("m.forward(ids, ctx); [ctx.seen, ctx.kept]");
    assert!(said.contains("hooks.rhai is taken anew: "), "{said}");
    assert!(said.ends_with("[[\"one\", \"two\"], tensor [1] i64 cpu: [7]]"), "{said}");
    repl.press(CTRL_D);
    assert_eq!(repl.ends().0, 0);
}

#[test]
fn a_closure_keeps_the_code_that_it_was_made_with() {
    let made = |word: &str| format!("fn make() {{ |x, ctx| {{ ctx.word = {word:?}; }} }}");
    let here = Workplace::new(&[("hooks.rhai", &made("first"))]);
    let mut repl = start(&here);
    repl.enter("let ctx = context([hook(\"logits\", make())]);");
    here.write("hooks.rhai", made("second").as_bytes());
    repl.until("hooks.rhai has changed");
    repl.enter("let other = context([hook(\"logits\", make())]);");
    assert_eq!(
        repl.enter("m.forward(ids, ctx); m.forward(ids, other); [ctx.word, other.word]"),
        "[\"first\", \"second\"]"
    );
}

#[test]
fn a_long_sweep_takes_the_new_hook_at_its_next_pass() {
    let here = Workplace::new(&[("hooks.rhai", "fn log(x, ctx) { ctx.word = \"old\"; }")]);
    let mut repl = start(&here);
    repl.enter("let ctx = context([hook(\"logits\", log)]); m.forward(ids, ctx);");
    repl.type_in("print(\"under way\"); while ctx.word == \"old\" { m.forward(ids, ctx); }");
    repl.press("\r");
    repl.until("\nunder way");
    here.write("hooks.rhai", b"fn log(x, ctx) { ctx.word = \"new\"; }");
    repl.until("hooks.rhai is taken anew: log");
    assert_eq!(repl.enter("ctx.word"), "new");
}

#[test]
fn a_long_generation_takes_the_new_hook_at_its_next_pass() {
    let here = Workplace::new(&[(
        "hooks.rhai",
        "fn log(x, ctx) { if ctx.step == 3 { print(\"under way\"); } }",
    )]);
    let mut repl = start(&here);
    repl.enter("let ctx = context([hook(\"logits\", log)]);");
    repl.type_in(
        "m.generate(ids, ctx, #{max_new_tokens: 1000000, beyond: true, ignore_eos: true});",
    );
    repl.press("\r");
    repl.until("under way");
    here.write("hooks.rhai", b"\nfn log(x, ctx) { throw \"the new hook\"; }");
    repl.until("error: the new hook");
    // The place is the file's as it is now.
    repl.until("--> hooks.rhai:2:18");
    assert_eq!(repl.enter("40 + 2"), "42");
}

#[test]
fn a_broken_file_is_explained_and_the_old_functions_go_on() {
    let here = Workplace::new(&[("hooks.rhai", LOG)]);
    let mut repl = start(&here);
    repl.enter("let ctx = context([hook(\"logits\", log)]);");
    here.write("hooks.rhai", b"fn log(x, ctx) {\n    ctx.seen = [;\n}");
    repl.until("--> hooks.rhai:2:");
    repl.until("hooks.rhai has changed, and what it defined before stands");
    let said = repl.enter("m.forward(ids, ctx); ctx.seen");
    assert!(said.ends_with("[\"one\"]"), "{said}");
    here.write("hooks.rhai", LOG.replace("\"one\"", "\"mended\"").as_bytes());
    repl.until("hooks.rhai has changed: the next input takes it");
    let said = repl.enter("m.forward(ids, ctx); ctx.seen");
    assert!(said.ends_with("[\"one\", \"mended\"]"), "{said}");
}

#[test]
fn what_a_file_imports_and_its_constants_are_taken_anew_too() {
    let main = "import \"helper\" as helper;\nconst BY = 2;\nlet not_taken = 1;\nfn twice(x) { helper::times(x, global::BY) }";
    let here = Workplace::new(&[("hooks.rhai", main), ("helper.rhai", "fn times(x, n) { x * n }")]);
    let mut repl = start(&here);
    assert_eq!(repl.enter("[twice(4), BY]"), "[8, 2]");
    assert!(repl.enter("not_taken").contains("error: there is no variable not_taken"));
    here.write("helper.rhai", b"fn times(x, n) { x * n + 1 }");
    repl.until("hooks.rhai has changed: the next input takes it");
    let said = repl.enter("twice(4)");
    assert!(said.ends_with("\n9"), "{said}");
    repl.clear();
    here.write("hooks.rhai", main.replace("BY = 2", "BY = 3").as_bytes());
    repl.until("hooks.rhai has changed: the next input takes it");
    let said = repl.enter("[twice(4), BY]");
    assert!(said.ends_with("[13, 3]"), "{said}");
}

#[test]
fn a_function_that_the_file_no_longer_has_is_gone_and_a_saved_session_has_what_it_has_now() {
    let here = Workplace::new(&[("hooks.rhai", "fn old() { 1 }\nfn both() { 1 }")]);
    let mut repl = start(&here);
    assert_eq!(repl.enter("old() + both()"), "2");
    here.write("hooks.rhai", b"fn later() { 2 }\nfn both() { 2 }");
    repl.until("hooks.rhai has changed");
    let said = repl.enter("later() + both()");
    assert!(said.contains("; gone: old") && said.ends_with("\n4"), "{said}");
    assert!(repl.enter("old()").contains("error: there is no function old"));
    repl.enter(":save saved.rhai");
    let saved = std::fs::read_to_string(here.path().join("saved.rhai")).unwrap();
    assert!(saved.contains("fn both() { 2 }") && !saved.contains("fn old()"), "{saved}");
}
