//! The functions and imports of one script do not stand for those of another, or for the engine's:
//! neither while a module calls back what a script gave it, nor the other way round.

use crate::binary::Workplace;

/// What a script prints whose modules have these texts.
fn printed(modules: &[(&str, &str)], script: &str) -> String {
    let files: Vec<_> = modules.iter().copied().chain([("s.rhai", script)]).collect();
    let run = Workplace::new(&files).run(&["run", "s.rhai"]);
    assert_eq!(run.code, Some(0), "{script}\n{}", run.stderr);
    run.stdout
}

/// A module that calls what it is given, by each way that there is.
const CALLS: &str = "\
fn helper(x) { \"the module's\" }
fn sum(x) { \"the module's sum\" }
fn on(f, x) { f.call(x) }
fn each(f, xs) { xs.map(f) }
fn of_map(m, x) { m.given(x) }
fn hooked(m, f) { m.forward(tensor([[1]]), context([hook(\"post-mlp\", f, #{layers: 0})])); }
fn own(x) { helper(x) }
fn pointer() { helper }
fn named() { Fn(\"helper\") }
private fn hidden(x) { helper(x) }
fn secret() { hidden }
fn member(x) { x.topk(1).values.item() }
fn keeps(x) { this.total += x; }
fn total(xs) { let all = #{total: 0}; for x in xs { all.keeps(x); } all.total }
";

#[test]
fn a_module_hides_no_function_of_the_script() {
    let script = "import \"l\" as l; fn helper(x) { \"mine\" } \
         print(l::on(|x| helper(x), 1)); print(l::each(|x| helper(x), [1])[0]); \
         print(l::of_map(#{given: |x| helper(x)}, 1)); print(l::on(helper, 1)); print(l::on(Fn(\"helper\"), 1)); \
         l::hooked(model(\"demo:opt\"), |x, ctx| { if ctx.layer == 0 { print(helper(1)); } x }); ();";
    assert_eq!(printed(&[("l.rhai", CALLS)], script), "mine\n".repeat(6));
}

#[test]
fn a_script_hides_no_function_of_a_module() {
    let script = "import \"l\" as l; fn helper(x) { \"mine\" } fn topk(x) { 7 } fn total(x) { 7 } fn keeps(x) { this.total = 9; } \
         print(l::own(1)); print(l::pointer().call(1)); print(l::named().call(1)); print(l::secret().call(1)); \
         print(l::member(tensor([1.0, 5.0]))); print(l::total([1, 2]));";
    assert_eq!(
        printed(&[("l.rhai", CALLS)], script),
        format!("{}5.0\n3\n", "the module's\n".repeat(4))
    );
}

#[test]
fn neither_hides_the_engines_functions() {
    let script = "import \"l\" as l; print(l::on(|x| sum(x).item(), tensor([1.0, 2.0]))); \
         print(l::on(|x| x.sum().item(), tensor([1.0, 2.0])));";
    assert_eq!(printed(&[("l.rhai", CALLS)], script), "3.0\n3.0\n");
    // A function that does not read `this` is none to be called after a dot: the tensor's is meant.
    assert_eq!(
        printed(
            &[],
            "fn sum(dim) { \"mine\" } print(tensor([[1.0], [2.0]]).sum(0)[0].item()); print(sum(0));"
        ),
        "3.0\nmine\n"
    );
    assert_eq!(
        printed(&[], "fn given(x) { \"mine\" } let m = #{given: |x| \"its\"}; print(m.given(1));"),
        "its\n"
    );
}

#[test]
fn two_modules_are_apart_and_so_are_their_imports() {
    let a = "import \"b\" as other; fn helper(x) { \"a's\" } fn through(f) { other::on(|x| f.call(helper(x)), 1) } \
         fn imported(f) { f.call(0) }";
    let b = "import \"c\" as deep; fn helper(x) { \"b's\" } fn on(f, x) { f.call(x) }";
    let c = "fn name() { \"c\" }";
    let d = "fn name() { \"d\" }";
    let modules = [("a.rhai", a), ("b.rhai", b), ("c.rhai", c), ("d.rhai", d)];
    assert_eq!(
        printed(
            &modules,
            "import \"a\" as a; fn helper(x) { \"mine\" } print(a::through(|x| x + \", \" + helper(x)));"
        ),
        "a's, mine\n"
    );
    // `deep` and `other` are imports of the modules too.
    assert_eq!(
        printed(
            &modules,
            "import \"a\" as a; import \"b\" as b; import \"d\" as deep; import \"c\" as other; \
             print(b::on(|x| deep::name() + other::name(), 1)); print(a::imported(|x| other::name() + deep::name())); \
             print(b::deep::name() + a::other::deep::name());"
        ),
        "dc\ncd\ncc\n"
    );
}

#[test]
fn errors_have_the_names_that_the_script_has() {
    for (script, said) in [
        (
            "fn helper(x) { x.nothing() } helper(1);",
            &["has no method nothing()", "in helper, called at"] as &[_],
        ),
        ("fn helper(x) { x } helper(1, 2);", &["helper does not take (int, int)"]),
        ("import \"l\" as l; l::helper(1, 2);", &["module l has no function helper(int, int)"]),
        ("import \"l\" as l; l::nothing;", &["l::nothing"]),
        ("import \"l\" as l; l::member(1);", &["in member, called at"]),
        (
            "fn f(x) { x } hook(\"post-mlp\", f);",
            &["a hook takes two parameters, x and ctx, and f at post-mlp takes 1"],
        ),
        ("fn f(x, ctx) { x } print(hook(\"post-mlp\", f)); throw f.name;", &["f"]),
    ] {
        let run = Workplace::new(&[("l.rhai", CALLS), ("s.rhai", script)]).run(&["run", "s.rhai"]);
        assert_eq!(run.code, Some(1), "{script}");
        let all = run.stdout + run.stderr.as_str();
        assert!(!all.contains("__"), "{script}\n{all}");
        for part in said {
            assert!(all.contains(part), "{script}: {part}\n{all}");
        }
    }
    assert_eq!(
        printed(&[], "fn f(x) { x } print(f); print(f.name); print(`${f}`); debug(f);"),
        "Fn(f)\nf\nFn(f)\nFn(f)\n"
    );
}
