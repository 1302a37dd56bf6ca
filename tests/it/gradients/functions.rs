//! Each function that is declared differentiable, by [`table`](super::table), against central
//! differences in float64; and those that are declared to have no gradient.

use candle_core::DType;
use precompute::script::declare::{Gradient, Page};
use precompute::script::{Host, Settings};
use rhai::Engine;

use super::harness::{Inputs, Loss, evaluated, inputs, run};
use super::table::ROWS;
use crate::snippet::engine;

#[test]
fn every_differentiable_function_agrees_with_central_differences() {
    let engine = engine();
    let mut wrong = Vec::new();
    for row in ROWS {
        if let Err(why) = compare(&engine, row.script, &inputs(row.inputs)) {
            wrong.push(format!("{}: {}: {why}", row.name, row.script));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
}

/// In float32, by the loops that take it, and in half precision, with gradients of its dtype.
#[test]
fn gradients_of_other_dtypes_are_near_those_in_float64() {
    let engine = engine();
    let mut wrong = Vec::new();
    for row in ROWS {
        let doubles = inputs(row.inputs);
        let gradients = |dtype: DType| -> Result<Vec<Vec<f64>>, String> {
            let inputs = doubles.cast(dtype);
            let loss = Loss::of(&run(&engine, row.script, &inputs.handles(true))?);
            Ok(inputs.gradients(&loss.tensor()))
        };
        let expected = gradients(DType::F64).unwrap();
        let most = expected.iter().flatten().fold(1e-2, |most: f64, x| most.max(x.abs()));
        for (dtype, within) in [(DType::F32, 1e-3), (DType::F16, 0.2), (DType::BF16, f64::MAX)] {
            if dtype != DType::F32 && (doubles.are_complex() || row.script.contains("f64")) {
                continue;
            }
            match gradients(dtype) {
                Ok(found) => {
                    let pairs = found.iter().flatten().zip(expected.iter().flatten());
                    let off = pairs.map(|(x, y)| (x - y).abs());
                    let off =
                        off.fold(0.0, |most: f64, x| if x > most || x.is_nan() { x } else { most });
                    if off.is_nan() || off > within * most {
                        wrong.push(format!("{dtype:?} {}: off by {off} of {most}", row.script));
                    }
                }
                Err(error) => wrong.push(format!("{dtype:?} {}: {error}", row.script)),
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What computes from tensors in the pages of the reference has a row, and each row a declaration.
#[test]
fn every_function_that_is_declared_differentiable_is_tested() {
    let host = Host::new(Settings::default()).unwrap();
    let declarations = host.declarations();
    let of_tensors: Vec<_> = declarations
        .iter()
        .filter(|declared| declared.page == Page::Tensors)
        .filter(|declared| matches!(declared.gradient, Gradient::Yes | Gradient::Zero))
        .map(|declared| declared.name)
        .collect();
    assert!(of_tensors.len() > 100);
    let has = |name: &str| ROWS.iter().any(|row| row.name == name);
    let untested: Vec<_> = of_tensors.iter().filter(|name| !has(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
    let unknown: Vec<_> = ROWS.iter().filter(|row| !of_tensors.contains(&row.name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

/// By a function of steps the tensors stay connected, and the gradient is 0.
#[test]
fn what_is_declared_to_have_a_gradient_of_0_has_it() {
    let host = Host::new(Settings::default()).unwrap();
    let declarations = host.declarations();
    let mut steps = 0;
    for declared in declarations.iter().filter(|of| of.gradient == Gradient::Zero) {
        let row = ROWS.iter().find(|row| row.name == declared.name).unwrap();
        let inputs = inputs(row.inputs);
        let loss = Loss::of(&run(&engine(), row.script, &inputs.handles(true)).unwrap());
        let gradients = inputs.gradients(&loss.tensor());
        assert!(gradients.iter().flatten().all(|x| *x == 0.0), "{}", declared.name);
        steps += 1;
    }
    assert!(steps >= 4);
}

/// What has no derivative fails with a sentence, and what is outside of any graph gives no graph.
#[test]
fn what_has_no_gradient_says_so_or_is_outside_of_the_graph() {
    let host = Host::new(Settings::default()).unwrap();
    let engine = engine();
    let x = inputs("x 3 apart");
    let none = [("unique", "x.unique()"), ("unique", "x.unique(#{return_counts: true})")];
    for (name, script) in none {
        let declared = host.declarations().iter().find(|of| of.name == name).unwrap().gradient;
        assert!(matches!(declared, Gradient::None(_)), "{name}");
        let error = run(&engine, script, &x.handles(true)).unwrap_err();
        assert!(error.contains(&format!("{name} has no derivative")), "{script}: {error}");
        assert!(run(&engine, script, &x.handles(false)).is_ok());
    }
    let untested: Vec<_> = host
        .declarations()
        .iter()
        .filter(|of| matches!(of.gradient, Gradient::None(_)))
        .map(|of| of.name)
        .filter(|name| none.iter().all(|(tested, _)| tested != name))
        .collect();
    assert!(untested.is_empty(), "{untested:?}");
    let error = run(&engine, "tensor([x[0], x[1]])", &x.handles(true)).unwrap_err();
    assert!(error.contains("without their gradients"), "{error}");
    let outside = [
        ("argmax", "x.argmax()"),
        ("argmin", "x.argmin(0)"),
        (">", "x > 0.0"),
        ("==", "x == x"),
        ("isnan", "x.isnan()"),
        ("any", "x.any()"),
        ("all", "x.all()"),
        ("count_nonzero", "x.count_nonzero()"),
        ("nonzero", "x.nonzero()"),
        ("unravel_index", "unravel_index(x.argmax(), x.shape)[0]"),
        ("histogram", "x.histogram(2).edges"),
        ("histogram", "x.histogram(2).counts"),
        ("zeros_like", "zeros_like(x)"),
        ("ones_like", "ones_like(x)"),
        ("full_like", "full_like(x, 2.0)"),
        ("rand_like", "rand_like(x)"),
        ("randn_like", "randn_like(x)"),
        ("multinomial", "(x * x).multinomial(1)"),
        ("to", "x.to(\"i64\")"),
        ("sort", "x.sort().indices"),
        ("topk", "x.topk(1).indices"),
    ];
    for (name, script) in outside {
        let result = run(&engine, script, &x.handles(true)).unwrap();
        assert!(!Loss::of(&result).is_tracked(), "{name}");
    }
    for script in ["x.to_array()", "x[0].item()", "x.shape", "x.fixed(2)", "x.to_string()"] {
        let gives = |tracked| format!("{:?}", run(&engine, script, &x.handles(tracked)));
        assert_eq!(gives(true), gives(false), "{script}");
    }
}

/// The greatest error may be 1e-6 of the largest element.
pub fn compare(engine: &Engine, script: &str, inputs: &Inputs) -> Result<(), String> {
    let script = engine.compile(script).map_err(|error| error.to_string())?;
    let loss = Loss::of(&evaluated(engine, &script, &inputs.handles(true))?);
    if !loss.is_tracked() {
        return Err("the result has no graph".into());
    }
    let plain = Loss::of(&evaluated(engine, &script, &inputs.handles(false))?);
    if plain.is_tracked() {
        return Err("there is a graph without a variable".into());
    }
    let (with, without) = (loss.number(), plain.number());
    if (with - without).abs() > 1e-12 * without.abs().max(1.0) {
        return Err(format!("it is {with} with a graph, and {without} without"));
    }
    let gradients = inputs.gradients(&loss.tensor());
    const STEP: f64 = 1e-5;
    for (i, (part, gradient)) in inputs.parts().zip(&gradients).enumerate() {
        let mut expected = Vec::new();
        for place in 0..part.elem_count() {
            let at = |by: f64| -> Result<f64, String> {
                Ok(Loss::of(&evaluated(engine, &script, &inputs.moved(i, place, by))?).number())
            };
            expected.push((at(STEP)? - at(-STEP)?) / (2.0 * STEP));
        }
        let most = expected.iter().fold(1e-2, |most: f64, x| most.max(x.abs()));
        let off = gradient.iter().zip(&expected).map(|(x, y)| (x - y).abs());
        let off = off.fold(0.0, |most: f64, x| if x > most || x.is_nan() { x } else { most });
        if off.is_nan() || off > 1e-6 * most {
            return Err(format!("input {i}: {gradient:.6?}, and differences give {expected:.6?}"));
        }
    }
    Ok(())
}
