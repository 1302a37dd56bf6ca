//! Who may write where: a write shows in its own tensor alone, and costs what is written.

use candle_core::{Device, Tensor};
use precompute::script::value::Handle;
use rhai::Scope;

use crate::snippet::{all_fail, all_show, engine};

#[test]
fn a_write_shows_in_the_same_tensor_and_in_no_other() {
    all_show(&[
        ("let a = zeros(3); let b = a; b[0] = 1; a.to_array()", "[1.0, 0.0, 0.0]"),
        ("let a = zeros(3); let b = a.copy(); b[0] = 1; a.to_array()", "[0.0, 0.0, 0.0]"),
        (
            "let a = zeros(2, 2); let row = a[0]; a[0] = 5; [row.to_array(), a.to_array()]",
            "[[0.0, 0.0], [[5.0, 5.0], [0.0, 0.0]]]",
        ),
        (
            "let a = zeros(2, 2); let row = a[0]; row[1] = 5; [row.to_array(), a.to_array()]",
            "[[0.0, 5.0], [[0.0, 0.0], [0.0, 0.0]]]",
        ),
        (
            "let a = zeros(2, 2); let v = a.reshape(4); let w = v[1..3]; w[0] = 1; v[3] = 2; [a.to_array(), v.to_array(), w.to_array()]",
            "[[[0.0, 0.0], [0.0, 0.0]], [0.0, 0.0, 0.0, 2.0], [1.0, 0.0]]",
        ),
        ("let a = zeros(2); let b = a.to(\"f32\"); b[0] = 1; a.to_array()", "[0.0, 0.0]"),
        ("let a = zeros(2); let b = cat([a]); b[0] = 1; a.to_array()", "[0.0, 0.0]"),
        (
            "let a = zeros(2); let b = a.expand(2, 2); b[0] = 1; [a.to_array(), b.to_array()]",
            "[[0.0, 0.0], [[1.0, 1.0], [0.0, 0.0]]]",
        ),
        (
            "let c = ones(2).to(\"c64\"); let r = c.real; let k = c.conj(); r[0] = 7; k[1] = 3; c.real.to_array()",
            "[1.0, 1.0]",
        ),
        (
            "let z = tensor([[1, 2], [3, 4]]).to(\"c64\"); z.real = z.real.transpose(0, 1); z.real.to_array()",
            "[[1.0, 3.0], [2.0, 4.0]]",
        ),
        (
            "let c = zeros(2).to(\"c64\"); c.imag[1] = 3; c.real = 2; c",
            "tensor [2] c64 cpu: [2.0+0.0i, 2.0+3.0i]",
        ),
        ("let a = ones(2); a.real[1] = 4; a.imag.to_array(); a.to_array()", "[1.0, 4.0]"),
        ("let a = ones(2); let c = a.to(\"c64\"); c[0] = 5; a.to_array()", "[1.0, 1.0]"),
        (
            "let a = arange(3); for row in a { a[2] = 9; if row.item() == 2 { a[0] = 7; } } a.to_array()",
            "[7, 1, 9]",
        ),
        (
            "let m = #{log: zeros(2, 2)}; m.log[1] = 3; m[\"log\"][0][1] = 4; m.log.to_array()",
            "[[0.0, 4.0], [3.0, 3.0]]",
        ),
        (
            "let a = zeros(2, 2, 2); a[1][0][1] = 4; a[[0, .., 0]] += 1; a.to_array()",
            "[[[1.0, 0.0], [1.0, 0.0]], [[0.0, 4.0], [0.0, 0.0]]]",
        ),
        ("let a = zeros(3); let f = || { a[1] = 2; a }; f.call(); a.to_array()", "[0.0, 2.0, 0.0]"),
    ]);
}

#[test]
fn a_tensor_may_be_written_into_itself() {
    all_show(&[
        ("let t = tensor([[1, 2], [3, 4]]); t[0] = t[1]; t.to_array()", "[[3, 4], [3, 4]]"),
        ("let t = arange(4); t[1..4] = t[0..3]; t.to_array()", "[0, 0, 1, 2]"),
        ("let t = arange(4); t[..] = t.flip(0); t.to_array()", "[3, 2, 1, 0]"),
        ("let t = arange(4); t[[..]] = t.flip(0); t.to_array()", "[3, 2, 1, 0]"),
        ("let t = arange(4); t[0..4] = t; t.to_array()", "[0, 1, 2, 3]"),
        (
            "let t = tensor([[1, 2], [3, 4]]); t[0..2] = t.transpose(0, 1); t.to_array()",
            "[[1, 3], [2, 4]]",
        ),
        ("let t = tensor([2, 0, 1]); t[t] = t; t.to_array()", "[0, 1, 2]"),
        ("let t = tensor([1, -1, 2]); t[t < 0] = t[0]; t.to_array()", "[1, 1, 2]"),
    ]);
}

#[test]
fn a_write_costs_the_part_and_keeps_the_storage() {
    let engine = engine();
    let mut scope = Scope::new();
    let log =
        Handle::from(Tensor::zeros((4, 2, 3), candle_core::DType::F32, &Device::Cpu).unwrap());
    let address = log.value().addresses();
    scope.push("log", log.clone());
    for write in [
        "log[2] = ones(2, 3)",
        "log[1] = ones(1, 2, 3)",
        "log[[0, .., 1]] = 4",
        "log[[0..2, 0, 1..3]] = 5",
        "log[log > 3.0] = 0",
        "log[tensor([3, 1])] = 7",
        "log[0] = log[1]",
        "log[0][1] = 2",
        "log[-1] += 1",
    ] {
        engine.run_with_scope(&mut scope, write).unwrap();
        assert_eq!(log.value().addresses(), address, "{write}");
    }
    engine.run_with_scope(&mut scope, "let view = log[0]; log[1] = 0").unwrap();
    assert_ne!(log.value().addresses(), address, "a view is held, so the write had to copy");
}

#[test]
fn an_operator_that_assigns_writes_in_place() {
    all_show(&[
        (
            "let a = ones(2); let b = a; let c = a.reshape(1, 2); b *= 3; [a.to_array(), c.to_array()]",
            "[[3.0, 3.0], [[1.0, 1.0]]]",
        ),
        ("let a = arange(3); a %= 2; a **= 2; a -= a; a.to_array()", "[0, 0, 0]"),
        (
            "let a = tensor([true, false]); a |= true; a &= a; a ^= tensor([true, false]); a.to_array()",
            "[false, true]",
        ),
        (
            "let a = zeros(2, 2); a[1][0] += 2; a[[.., 1]] -= 1; a.to_array()",
            "[[0.0, -1.0], [2.0, -1.0]]",
        ),
        (
            "let a = ones(2); a += tensor([1], #{dtype: \"f64\"}); a",
            "tensor [2] f32 cpu: [2.0, 2.0]",
        ),
        ("let sum = 0; for row in ones(3, 2) { sum += row; } sum.to_array()", "[3.0, 3.0]"),
        ("let m = #{x: ones(2)}; m.x /= 2; m.x.to_array()", "[0.5, 0.5]"),
    ]);
    all_fail(&[
        (
            "let a = arange(2); a += 0.5",
            "+= writes into a tensor [2] of i64, which cannot hold the result: [2] of f32",
        ),
        (
            "let a = ones(2); a *= ones(3, 2)",
            "*= writes into a tensor [2] of f32, which cannot hold the result: [3, 2] of f32",
        ),
    ]);
    let engine = engine();
    let mut scope = Scope::new();
    let x = Handle::lent(Tensor::ones(2, candle_core::DType::F32, &Device::Cpu).unwrap());
    scope.push("x", x.clone());
    engine.run_with_scope(&mut scope, "x *= 0.5").unwrap();
    assert_eq!(x.value().real("x").unwrap().to_vec1::<f32>().unwrap(), [0.5, 0.5]);
}

#[test]
fn what_the_model_holds_is_never_written() {
    let engine = engine();
    let weight = Tensor::zeros((2, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
    let mut scope = Scope::new();
    let x = Handle::lent(weight.clone());
    scope.push("x", x.clone());
    engine
        .run_with_scope(
            &mut scope,
            "let part = x[0]; part[0] = 1; let flat = x.reshape(4); flat[1] = 3; x[1] = 2",
        )
        .unwrap();
    assert_eq!(weight.to_vec2::<f32>().unwrap(), [[0., 0.], [0., 0.]]);
    let Ok(written) = x.value().real("x").and_then(|t| Ok(t.to_vec2::<f32>()?)) else {
        panic!("not real")
    };
    assert_eq!(written, [[0., 0.], [2., 2.]]);

    // Once handed back to the model, it is the model's.
    let given = x.lend();
    engine.run_with_scope(&mut scope, "x[0] = 9").unwrap();
    assert_eq!(given.real("x").unwrap().to_vec2::<f32>().unwrap(), [[0., 0.], [2., 2.]]);
}

#[test]
fn reading_writes_nothing() {
    let engine = engine();
    let mut scope = Scope::new();
    let x = Handle::lent(Tensor::rand(-1f32, 1., (3, 4), &Device::Cpu).unwrap());
    scope.push("x", x.clone());
    let before = x.value().addresses();
    for read in [
        "x[0].exp()",
        "x[-1][2].item()",
        "x[1..3].abs().shape",
        "x[[.., 1]].to_array()",
        "x[x > 0.0].exp()",
        "x[[[0, 2], 1]].exp().copy()",
        "x[tensor([1, 1])].round()",
        "x.real.exp()",
        "x.imag.exp()",
        "for row in x { row[0].exp(); }",
    ] {
        engine.run_with_scope(&mut scope, read).unwrap();
        assert_eq!(x.value().addresses(), before, "{read} copied");
    }
}

#[test]
fn assignment_broadcasts_casts_and_fits() {
    all_show(&[
        (
            "let t = zeros(2, 3, #{dtype: \"f16\"}); t[1] = tensor([1, 2, 3]); [t.dtype, t[1].to_array()]",
            "[\"f16\", [1.0, 2.0, 3.0]]",
        ),
        ("let t = zeros(2, #{dtype: \"i64\"}); t[0] = 2.9; t[1] = -2.9; t.to_array()", "[2, -2]"),
        ("let t = zeros(2, #{dtype: \"bool\"}); t[0] = 3; t.to_array()", "[true, false]"),
        (
            "let t = zeros(2, 2); t[[..]] = tensor([[1], [2]]); t.to_array()",
            "[[1.0, 1.0], [2.0, 2.0]]",
        ),
        ("let t = zeros(3); t[[..]] = ones(1, 1, 3); t.to_array()", "[1.0, 1.0, 1.0]"),
        ("let t = zeros(3); t[5..] = 1; t[2..1] = ones(0); t.to_array()", "[0.0, 0.0, 0.0]"),
        ("let t = tensor(1.5); t[[]] = 2; t.item()", "2.0"),
        (
            "let t = zeros(2).to(\"c64\"); t[0] = 3; t[1] = (tensor(-1.0).to(\"c64\") ** 0.5); t",
            "tensor [2] c64 cpu: [3.0+0.0i, 0.0+1.0i]",
        ),
        (
            "let t = zeros(2, 2, 2); t[[[0, 1], .., [1, 0]]] = tensor([[1, 2], [3, 4]]); t.to_array()",
            "[[[0.0, 1.0], [0.0, 2.0]], [[3.0, 0.0], [4.0, 0.0]]]",
        ),
        (
            "let t = zeros(2, 2); t[tensor([[true, false], [false, true]])] = tensor([5, 6]); t.to_array()",
            "[[5.0, 0.0], [0.0, 6.0]]",
        ),
        (
            "let t = zeros(2, 2); t[tensor([false, true])] = 1; t.to_array()",
            "[[0.0, 0.0], [1.0, 1.0]]",
        ),
    ]);
    all_fail(&[
        (
            "let t = zeros(2, 3); t[0] = ones(2)",
            "a tensor [2] cannot be written into a part of shape [3]",
        ),
        (
            "let t = zeros(2, 3); t[0] = ones(2, 3)",
            "a tensor [2, 3] cannot be written into a part of shape [3]",
        ),
        (
            "let t = zeros(2); t[0] = \"x\"",
            "a part of a tensor can be set to a tensor or a number, not the string \"x\"",
        ),
        ("let t = zeros(2, #{dtype: \"u8\"}); t[0] = 300", "300 does not fit into u8"),
        ("let t = zeros(2, #{dtype: \"u32\"}); t[0] = -1", "-1 does not fit into u32"),
        ("let t = zeros(2); t[0] = ones(2).to(\"c64\")[0]", "a complex tensor has no f32 form"),
    ]);
}
