//! Sessions at a terminal: editing, completion, colours, and how to stop and leave.

use std::path::Path;

use crate::binary::Workplace;
use crate::hub_server::{Fault, HubServer};
use crate::terminal::{CTRL_C, CTRL_D, CTRL_R, CTRL_U, TAB, Terminal, UP};

fn start(here: &Path) -> Terminal {
    Terminal::start(here, &["repl", "--model", "demo:opt"], &[])
}

#[test]
fn an_error_shows_the_line_with_a_caret_and_loses_nothing() {
    let here = Workplace::new(&[]);
    let mut repl = start(here.path());
    repl.enter("let kept = 41; fn more() { 1 }");
    let said = repl.enter("let y = nope + 1;");
    assert!(
        said.contains("input:2:9") && said.contains("  2 | let y = nope + 1;\n    |         ^^^^"),
        "{said}"
    );
    repl.enter("let half = 2; throw \"no\";");
    assert_eq!(repl.enter("[kept + more(), half]"), "[42, 2]");
    repl.press(CTRL_D);
    assert_eq!(repl.ends().0, 0);
}

#[test]
fn an_input_goes_on_while_something_is_open() {
    let here = Workplace::new(&[]);
    let mut repl = start(here.path());
    repl.prompt();
    for line in ["fn f(x)", "{", "    x +", "    1"] {
        repl.type_in(line);
        repl.press("\r");
    }
    repl.type_in("}");
    repl.press("\r");
    repl.prompt();
    assert_eq!(repl.enter("f(1)"), "2");
}

#[test]
fn history_is_kept_between_sessions_and_can_be_searched() {
    let here = Workplace::new(&[]);
    let mut first = start(here.path());
    first.enter("let answer = 40;");
    first.enter("answer + 2");
    first.press(CTRL_D);
    assert_eq!(first.ends().0, 0);

    let mut second = start(here.path());
    second.prompt();
    second.press(UP);
    second.until("> answer + 2");
    second.press(UP);
    second.until("> let answer = 40;");
    second.press("\r");
    second.prompt();
    second.press(CTRL_R);
    second.press("er +");
    second.until("(reverse-i-search)`er +': answer + 2");
    second.press("\r");
    second.until("\n42\n");
}

#[test]
fn what_may_stand_at_the_cursor_is_completed() {
    let here = Workplace::new(&[("data/numbers.npy", ""), ("script.rhai", "")]);
    let mut repl = start(here.path());
    for line in [
        "let my_tensor = zeros(2);",
        "let map = #{first_key: 1};",
        "fn my_function() { 1 }",
        "let ids = m.encode(\"a b\");",
        "let ctx = context([hook(\"post-mlp\", |x, ctx| { ctx.kept_here = x; })]);",
        "m.forward(ids, ctx);",
        "let out = m.forward(ids);",
    ] {
        repl.enter(line);
    }
    for (what, typed, completed) in [
        ("a command", ":poi", ":points"),
        ("a command's file", ":run scr", ":run script.rhai"),
        ("a name for help", ":help count_n", ":help count_nonzero"),
        ("within :time", ":time my_t", ":time my_tensor"),
        ("a variable", "my_t", "my_tensor"),
        ("a function of the session", "my_f", "my_function"),
        ("a function", "cosine_s", "cosine_similarity"),
        ("a tensor's method", "my_tensor.masked_f", "my_tensor.masked_fill"),
        ("a tensor's property", "my_tensor.num", "my_tensor.numel"),
        ("a method of what a call gives", "f(x).unsq", "f(x).unsqueeze"),
        ("a model's method", "m.unem", "m.unembed"),
        ("a property's method", "out.logits.softm", "out.logits.softmax"),
        ("a field of what a call gives", "m.forward(ids).log", "m.forward(ids).logits"),
        (
            "a field of it that only it has",
            "m.forward(ids, #{stop: \"post-mlp@0\"}).stop",
            "m.forward(ids, #{stop: \"post-mlp@0\"}).stopped",
        ),
        (
            "a field of a map that a call gives",
            "m.heads(0).w_q.topk(3).ind",
            "m.heads(0).w_q.topk(3).indices",
        ),
        ("the same in brackets", "m.heads(0)[\"w_q", "m.heads(0)[\"w_q"),
        (
            "a weight",
            "m.weight(\"model.decoder.embed_p",
            "m.weight(\"model.decoder.embed_positions.weight",
        ),
        ("an option", "m.forward(ids, #{mas", "m.forward(ids, #{mask"),
        ("an option after another", "x.sum(#{dim: 1, keep", "x.sum(#{dim: 1, keepdim"),
        ("a config field", "m.config.num_hidden_l", "m.config.num_hidden_layers"),
        ("a config field in brackets", "m.config[\"vocab", "m.config[\"vocab_size"),
        ("a map's key", "map.first", "map.first_key"),
        ("a context's key", "ctx.kept", "ctx.kept_here"),
        ("a context's key in brackets", "ctx[\"kept", "ctx[\"kept_here"),
        ("a context's key in a call", "ctx.get(\"kept", "ctx.get(\"kept_here"),
        ("a hook point", "hook(\"post-mask", "hook(\"post-mask-attn-weights"),
        (
            "a hook point in an array",
            "m.capture(ids, [\"logits\", \"mlp-r",
            "m.capture(ids, [\"logits\", \"mlp-residual",
        ),
        (
            "TransformerLens's name",
            "hook(\"blocks.2.hook_resid_po",
            "hook(\"blocks.2.hook_resid_post",
        ),
        ("where to stop", "#{stop: \"unreduced", "#{stop: \"unreduced-loss"),
        ("a model's name", "model(\"demo:g", "model(\"demo:gpt-neox"),
        ("a module", "import \"lib/lab", "import \"lib/labels"),
        ("a file", "load_tensors(\"data/num", "load_tensors(\"data/numbers.npy"),
    ] {
        repl.prompt();
        repl.type_in(typed);
        repl.press(TAB);
        // A key typed after it shows where the word ended.
        repl.press("!");
        repl.until(&format!("> {completed}!"));
        assert!(repl.screen().contains(completed), "{what}");
        repl.press(CTRL_U);
    }
    // Several that fit are listed.
    repl.prompt();
    repl.type_in("hook(\"blocks.");
    repl.press(TAB);
    repl.until("blocks.3.");
    repl.press(CTRL_U);
    repl.prompt();
    repl.type_in("m.forward(ids, #{");
    repl.press(TAB);
    repl.until("logits");
}

#[test]
fn what_is_typed_is_coloured_unless_colours_are_off() {
    let here = Workplace::new(&[]);
    let line = "let a = f(\"text\", 15); // rest";
    let mut repl = start(here.path());
    repl.prompt();
    repl.type_in(line);
    let plain = vt100::Color::Default;
    let colours: Vec<_> =
        ["let", "f(", "\"text\"", "15", "// rest"].map(|word| repl.colour(word).0).into();
    for (i, colour) in colours.iter().enumerate() {
        assert_ne!(*colour, plain);
        assert!(!colours[..i].contains(colour), "{colours:?}");
    }
    assert_eq!(repl.colour("a = ").0, plain);

    let mut repl = Terminal::start(here.path(), &["repl"], &[("NO_COLOR", "1")]);
    repl.prompt();
    repl.type_in(line);
    for word in ["let", "f(", "\"text\"", "15", "// rest"] {
        assert_eq!(repl.colour(word).0, plain);
    }
}

#[test]
fn the_bracket_that_belongs_to_the_one_at_the_cursor_is_shown() {
    let here = Workplace::new(&[]);
    let mut repl = start(here.path());
    repl.prompt();
    repl.type_in("[1, (2)]");
    assert!(repl.colour("[1").1 && !repl.colour("(2").1);
    // One to the left of the last: behind the round one that closes.
    repl.press("\x1b[D\x1b[D");
    let begun = std::time::Instant::now();
    while !repl.colour("(2").1 {
        assert!(begun.elapsed().as_secs() < 60, "{}", repl.screen());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!repl.colour("[1").1);
}

#[test]
fn tensors_are_summed_up_and_drawn() {
    let here = Workplace::new(&[]);
    let mut repl = start(here.path());
    let said = repl.enter("arange(100).to(\"f32\")");
    assert!(
        said.starts_with("tensor [100] f32 cpu: mean 49.5, std 29.011, min 0.0, max 99.0"),
        "{said}"
    );
    let course = said.lines().nth(1).unwrap();
    assert!(
        course.starts_with('▁') && course.ends_with('█') && course.chars().count() == 60,
        "{said}"
    );
    let said = repl.enter("plot(#{title: \"Squares\", y: [0, 1, 4, 9]});");
    assert!(said.contains("Squares"), "{said}");
    let said = repl.enter("heatmap(tensor([[1.0, 2.0], [3.0, 4.0]]), #{title: \"Four\"});");
    assert!(said.contains("Four"), "{said}");
}

#[test]
fn ctrl_c_stops_what_runs_and_keeps_the_state() {
    let here = Workplace::new(&[]);
    let mut repl = start(here.path());
    repl.enter("let ids = m.encode(\"Mary went\"); let n = 0;");
    // Twice: the first leaves nothing behind that would end the second.
    for _ in 0..2 {
        repl.enter("n = 0;");
        repl.type_in("loop { m.forward(ids); n += 1; if n == 3 { print(\"under way\"); } }");
        repl.press("\r");
        repl.until("\nunder way");
        repl.press(CTRL_C);
        repl.until("interrupted");
        assert_eq!(repl.enter("n >= 3"), "true");
        repl.clear();
    }
}

#[test]
fn ctrl_c_stops_a_download_and_keeps_the_state() {
    let hub = HubServer::start(&["opt"]);
    let here = Workplace::new(&[]);
    hub.fail("GET", "/lfs/", Fault::Trickle, 1);
    let environment =
        [("HF_HUB_OFFLINE", "0"), ("HF_ENDPOINT", hub.address()), ("NO_PROXY", "127.0.0.1")];
    let mut repl = Terminal::start(here.path(), &["repl"], &environment);
    repl.enter("let kept = 7;");
    repl.type_in("let far = model(\"tiny/opt\");");
    repl.press("\r");
    let blobs = here.path().join("hf/hub/models--tiny--opt/blobs");
    let begun = std::time::Instant::now();
    let partial = || {
        let entries = std::fs::read_dir(&blobs).ok()?.flatten();
        let sizes =
            entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".incomplete"));
        sizes.filter_map(|entry| Some(entry.metadata().ok()?.len())).max()
    };
    while partial().unwrap_or(0) < 4096 {
        assert!(begun.elapsed().as_secs() < 60, "{}", repl.screen());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    repl.press(CTRL_C);
    repl.until("interrupted");
    assert_eq!(repl.enter("kept"), "7");
    assert_eq!(repl.enter("model(\"tiny/opt\").id"), "tiny/opt");
}

#[test]
fn ctrl_c_gives_up_a_line_and_ctrl_d_leaves() {
    let here = Workplace::new(&[]);
    let mut repl = start(here.path());
    repl.prompt();
    repl.type_in("fn half_typed(");
    repl.press(CTRL_C);
    repl.prompt();
    assert_eq!(repl.enter("1 + 1"), "2");
    repl.press(CTRL_D);
    let (code, screen) = repl.ends();
    assert_eq!(code, 0, "{screen}");
}

#[test]
fn a_script_on_the_command_line_is_run_first_and_its_mistake_ends_nothing() {
    let here = Workplace::new(&[("s.rhai", "let from_file = 3;\nnope;")]);
    let mut repl = Terminal::start(here.path(), &["repl", "s.rhai"], &[]);
    repl.prompt();
    assert!(repl.screen().contains("--> s.rhai:2:1"), "{}", repl.screen());
    assert_eq!(repl.enter("from_file"), "3");
    repl.enter(":quit now");
    repl.type_in(":quit");
    repl.press("\r");
    assert_eq!(repl.ends().0, 0);
}
