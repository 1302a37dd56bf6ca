//! What PyTorch's derivatives are at edges, where no difference quotient is.

use candle_core::{Device, Tensor, Var};
use precompute::script::value::Handle;
use rhai::{Dynamic, Scope};

use crate::snippet::engine;

/// The gradient of the sum of what the script makes of the variable x.
fn gradient(x: &[f64], script: &str) -> Vec<f64> {
    let x = Var::new(x, &Device::Cpu).unwrap();
    let sum = result(&x, script).unwrap();
    let gradients = sum.sum_all().unwrap().backward().unwrap();
    gradients.get(x.as_tensor()).unwrap().to_vec1().unwrap()
}

fn result(x: &Var, script: &str) -> Result<Tensor, String> {
    let mut scope = Scope::new();
    scope.push("x", Handle::from(x.as_tensor().clone()));
    let result = engine().eval_with_scope::<Dynamic>(&mut scope, script);
    let result = result.map_err(|error| error.to_string())?;
    let handle = result.read_lock::<Handle>().unwrap();
    let tensor = handle.value().parts()[0].clone();
    Ok(tensor)
}

#[test]
fn gradients_at_edges_are_pytorchs() {
    const NAN: f64 = f64::NAN;
    let cases: &[(&[f64], &str, &[f64])] = &[
        (&[0.0, -1.0, 2.0], "x.relu()", &[0.0, 0.0, 1.0]),
        (&[0.0, -1.0, 2.0], "x.abs()", &[0.0, -1.0, 1.0]),
        (&[0.0, 4.0], "x.sqrt()", &[f64::INFINITY, 0.25]),
        (&[0.0, 2.0], "x ** 0", &[0.0, 0.0]),
        (&[0.0, 2.0], "x ** 2", &[0.0, 4.0]),
        (&[0.0, 1.0], "x ** 1", &[1.0, 1.0]),
        (&[0.0, 1.0], "0.0 ** x", &[0.0, 0.0]),
        (&[1.0, 2.0, 3.0], "x.clamp(1.0, 2.0)", &[1.0, 1.0, 0.0]),
        (&[1.0, 2.0], "maximum(x, 1.0)", &[0.5, 1.0]),
        (&[1.0, 0.5], "minimum(x, tensor([1.0, 1.0]))", &[0.5, 1.0]),
        (&[3.0, 1.0, 3.0], "x.max()", &[0.5, 0.0, 0.5]),
        (&[3.0, 1.0, 3.0], "x.max(0)", &[0.5, 0.0, 0.5]),
        (&[2.0, 2.0, 3.0, 1.0], "x.median()", &[0.5, 0.5, 0.0, 0.0]),
        (&[2.0, 2.0, 3.0, 1.0], "x.median(0)", &[1.0, 0.0, 0.0, 0.0]),
        (&[0.0, 0.0], "x.norm()", &[0.0, 0.0]),
        (&[0.0, 2.0], "x.norm(#{p: 1})", &[0.0, 1.0]),
        (&[2.0, -2.0], "x.norm(#{p: inf})", &[0.5, -0.5]),
        (&[3.0, 4.0], "x.norm(#{p: 0})", &[0.0, 0.0]),
        (&[1.0, 1.0], "x.std()", &[0.0, 0.0]),
        (&[0.0, 2.0, 3.0], "x.prod()", &[6.0, 0.0, 0.0]),
        (&[0.0, 0.0, 3.0], "x.prod()", &[0.0, 0.0, 0.0]),
        (&[1e4, -1e4], "x.softmax(0)[0]", &[0.0, 0.0]),
        (&[1e4, -1e4], "x.log_softmax(0)[1]", &[-1.0, 1.0]),
        (&[-f64::INFINITY, 1.0], "x.logsumexp()", &[0.0, 1.0]),
        (&[-f64::INFINITY, -f64::INFINITY], "x.logsumexp()", &[0.0, 0.0]),
        (&[1e3, 0.0], "x.sigmoid()", &[0.0, 0.25]),
        (&[40.0, -40.0], "x.gelu()", &[1.0, 0.0]),
        (&[1e3, -1e3], "x.silu()", &[1.0, 0.0]),
        (&[0.0, 0.0], "cosine_similarity(x, x)", &[0.0, 0.0]),
        // The first two logits are of a position that does not count.
        (
            &[NAN, 1.0, 0.0, 0.0],
            "cross_entropy(x.reshape(2, 2), tensor([-100, 0]))",
            &[0.0, 0.0, -0.5, 0.5],
        ),
        (&[0.0, 0.0], "(x.to(\"c128\")).abs()", &[0.0, 0.0]),
        (&[0.0, -1.0], "x.angle()", &[0.0, 0.0]),
        (&[1.0, 2.0], "x.imag", &[0.0, 0.0]),
        (&[2.5, 1.0], "let t = x * 2.0; t[0] = 7.0; t", &[0.0, 2.0]),
        // Of elements that are written to one place the last one stays.
        (&[1.0, 2.0], "let t = zeros(2); t[tensor([1, 1])] = x; t", &[0.0, 1.0]),
        (&[1.0, 2.0], "zeros(2).to(\"f64\").scatter(0, tensor([1, 1]), x)", &[0.0, 1.0]),
        (&[5.0, 1.0, 5.0], "x.topk(2).values", &[1.0, 0.0, 1.0]),
        (&[5.0, 1.0], "x[[[0, 0]]]", &[2.0, 0.0]),
        // Half precision is computed in float32.
        (&[1.0, 3.0], "x.to(\"f16\").softmax(0)[0] * 0.0 + x.to(\"bf16\").sum()", &[1.0, 1.0]),
    ];
    for (x, script, expected) in cases {
        let found = gradient(x, script);
        let near = |(a, b): (&f64, &f64)| a == b || (a - b).abs() < 1e-6;
        assert!(found.iter().zip(*expected).all(near), "{script} of {x:?}: {found:?}");
    }
}

/// A derivative is computed from what the tensors were, whatever is written to them later.
#[test]
fn a_later_write_changes_no_gradient() {
    let cases: &[(&str, [f64; 2])] = &[
        ("let w = tensor([3.0, 4.0]); let y = x * w; w[0] = 100.0; y", [3.0, 4.0]),
        ("let w = tensor([3.0, 4.0]); let y = x * w; w *= 100.0; y", [3.0, 4.0]),
        ("let w = tensor([3.0, 4.0]); let y = stack([w, x]).prod(0); w[0] = 9.0; y", [3.0, 4.0]),
        ("let ids = tensor([0, 0]); let y = x[ids]; ids[0] = 1; y", [2.0, 0.0]),
        ("let ids = tensor([0, 0]); let y = x.gather(0, ids); ids += 1; y", [2.0, 0.0]),
        ("let on = tensor([true, false]); let y = where(on, x, 0.0); on[1] = true; y", [1.0, 0.0]),
        (
            "let w = tensor([3.0, 4.0]); let n = tensor([1.0, 0.0]); let y = n.rms_norm(#{weight: x}); n[0] = 9.0; y * w",
            [4.242640687119285, 0.0],
        ),
        ("let e = (x * 0.0).exp(); let y = e * 2.0 * x; e[0] = 5.0; y", [2.0, 2.0]),
        ("let e = x * 1.0; let y = e * e; e += 1.0; y", [2.0, 4.0]),
        (
            "let m = tensor([[2.0, 0.0], [0.0, 5.0]]); let y = m.matmul(x); m[0] = 9.0; y",
            [2.0, 5.0],
        ),
    ];
    for (script, expected) in cases {
        let found = gradient(&[1.0, 2.0], script);
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near, "{script}: {found:?}");
    }
}

/// A view of a variable has storage of its own, for an optimiser writes a variable's in place.
#[test]
fn what_is_read_from_a_variable_stays_when_the_variable_moves() {
    let x = Var::new(&[1.0f64, 2.0], &Device::Cpu).unwrap();
    for script in ["x[0..2]", "x.reshape(2)", "x.to(\"f64\")", "x.expand(1, 2)[0]", "+x * 1.0"] {
        let part = result(&x, script).unwrap();
        let before: Vec<f64> = part.to_vec1().unwrap();
        x.set(&Tensor::new(&[7.0f64, 8.0], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(part.to_vec1::<f64>().unwrap(), before, "{script}");
        x.set(&Tensor::new(&[1.0f64, 2.0], &Device::Cpu).unwrap()).unwrap();
    }
}

/// Reading a part by a method call, after which Rhai writes the part back, is no write.
#[test]
fn a_variable_is_read_and_not_written() {
    let x = Var::new(&[1.0f64, 2.0], &Device::Cpu).unwrap();
    for script in ["x[0] = 3.0; x", "x += 1.0; x", "x.real = 2.0; x", "let y = x; y[1] *= 2.0; y"] {
        let error = result(&x, script).unwrap_err();
        assert!(error.contains("a variable is not written to"), "{script}: {error}");
    }
    for script in ["x[0].exp()", "x[[[0, 0]]].exp()", "x.T.exp()", "x.real.exp()", "x[0..1].sum()"]
    {
        assert!(result(&x, script).unwrap().track_op(), "{script}");
    }
    assert_eq!(x.as_tensor().to_vec1::<f64>().unwrap(), [1.0, 2.0]);
}
