//! Drawn cases of reductions, orders, transforms, products, layers and decompositions.

use super::drawn::{Case, input};
use super::random::{Draw, Shaped};

pub fn reduction(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 4);
    let f = draw.of(&[
        "sum",
        "mean",
        "var",
        "std",
        "logsumexp",
        "max",
        "min",
        "prod",
        "median",
        "cumsum",
        "softmax",
        "log_softmax",
        "quantile",
        "norm",
    ]);
    // A view may show an element several times, and then no maximum is the only one.
    let Shaped { text, dims: shown } = match f {
        "max" | "min" | "median" | "quantile" | "std" => {
            Shaped { text: "x".into(), dims: dims.clone() }
        }
        _ => draw.view("x", &dims),
    };
    let over = draw.some_dims(shown.len());
    let several = over.iter().map(|&dim| shown[dim]).product::<usize>() > 1;
    let (_, dim) = draw.dim(shown.len());
    let keep = draw.often();
    let script = match f {
        "prod" | "median" | "cumsum" | "softmax" | "log_softmax" => {
            format!("({text} * 0.4).{f}({dim})")
        }
        "quantile" => format!("x.quantile(0.3, {dim})"),
        "norm" => format!("{text}.norm(#{{p: 3, dim: {dim}}})"),
        "var" | "std" if !several => format!("{text}.sum()"),
        f => format!("({text} * 0.7).{f}(#{{dim: {over:?}, keepdim: {keep}}})"),
    };
    (input("x", &dims, "apart"), script)
}

pub fn extremes(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 3);
    let (_, dim) = draw.dim(dims.len());
    let script = match draw.below(9) {
        0 => format!("(x * 60.0).softmax({dim})"),
        1 => format!("(x * 300.0).log_softmax({dim}) / 100.0"),
        2 => format!("(x * 0.01).softmax({dim}) * 100.0"),
        3 => format!("(x * 300.0).logsumexp({dim}) / 100.0"),
        4 => format!("(x * 1e8).norm(#{{dim: {dim}}}) * 1e-8"),
        5 => format!("(x * 1e-8).norm(#{{dim: {dim}}}) * 1e8"),
        6 => format!("(x * 40.0).{}()", draw.of(&["sigmoid", "tanh", "gelu", "silu"])),
        7 => format!(
            "x.norm(#{{p: {}, dim: {dim}}})",
            draw.of(&["1", "1.5", "4", "inf", "-inf", "0.5"])
        ),
        _ => format!("cat([x, zeros_like(x) - inf], {dim}).softmax({dim})"),
    };
    (input("x", &dims, "apart"), script)
}

pub fn order(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 3);
    let (at, dim) = draw.dim(dims.len());
    let script = match draw.below(4) {
        0 => format!("x.sort(#{{dim: {dim}, descending: {}}}).values * x", draw.often()),
        1 => format!(
            "x.topk({}, #{{dim: {dim}, largest: {}}}).values",
            draw.within(1, dims[at]),
            draw.often()
        ),
        2 => format!("let i = x.sort(#{{dim: {dim}}}).indices; (x * x).gather({at}, i)"),
        _ => format!("let i = x.topk(1, #{{dim: {dim}}}).indices; x.sin().gather({at}, i)"),
    };
    (input("x", &dims, "apart"), script)
}

pub fn fourier(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 3);
    let f = draw.of(&["fft", "ifft", "rfft", "irfft"]);
    let what = if f == "rfft" || draw.often() { "" } else { "complex" };
    let Shaped { text, dims: shown } = draw.view("x", &dims);
    let (_, dim) = draw.dim(shown.len());
    let n = draw.within(2, 7);
    let norm = draw.of(&["forward", "backward", "ortho"]);
    let script = match draw.below(3) {
        0 => format!("{text}.{f}(#{{dim: {dim}, n: {n}, norm: \"{norm}\"}})"),
        1 => format!("let s = {text}.{f}(#{{dim: {dim}, n: {n}}}); s * s"),
        _ => format!("{text}.fft({dim}).fftshift({dim}).ifft({dim})"),
    };
    (input("x", &dims, what), script)
}

pub fn einsum(draw: &mut Draw) -> Case {
    let letters = ['i', 'j', 'k', 'l'];
    let sizes: Vec<usize> = letters.iter().map(|_| draw.within(1, 3)).collect();
    let operands = draw.within(1, 3);
    let (mut terms, mut used, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
    for name in &["x", "y", "w"][..operands] {
        let mut own: Vec<usize> = (0..letters.len()).collect();
        draw.shuffle(&mut own);
        own.truncate(draw.within(1, 3));
        let dims: Vec<usize> = own.iter().map(|&at| sizes[at]).collect();
        inputs.push(input(name, &dims, ""));
        terms.push(own.iter().map(|&at| letters[at]).collect::<String>());
        used.extend(own);
    }
    used.sort_unstable();
    used.dedup();
    draw.shuffle(&mut used);
    used.truncate(draw.below(used.len() + 1));
    let output: String = used.iter().map(|&at| letters[at]).collect();
    let names = ["x", "y", "w"][..operands].join(", ");
    (inputs.join("; "), format!("einsum(\"{}->{output}\", {names})", terms.join(",")))
}

pub fn matmul(draw: &mut Draw) -> Case {
    let [rows, inner, columns] = [0; 3].map(|_| draw.within(1, 3));
    let batch = draw.dims(0, 1);
    let (mut a, mut b) = (batch.clone(), draw.narrower(&batch));
    let what = draw.of(&["", "complex"]);
    let turned = draw.often();
    a.extend([rows, inner]);
    b.extend(if turned { [columns, inner] } else { [inner, columns] });
    let y = if turned { "y.transpose(-1, -2)" } else { "y" };
    let script = match draw.below(3) {
        0 => format!("x.matmul({y}) + 0.5"),
        1 => format!("x.matmul({y}.select(-1, 0))"),
        _ => format!("x.transpose(-1, -2).matmul(x).matmul({y})"),
    };
    let script =
        if b.len() > 2 && script.contains("select") { format!("x.matmul({y})") } else { script };
    (format!("{}; {}", input("x", &a, what), input("y", &b, what)), script)
}

pub fn norm_layer(draw: &mut Draw) -> Case {
    let mut dims = draw.dims(1, 3);
    let width = draw.within(2, 5);
    dims.truncate(2);
    dims.push(width);
    let script = match draw.below(4) {
        0 => "x.layer_norm(w, b)",
        1 => "(x * 1e3).layer_norm(w)",
        2 => "x.rms_norm(w) + b",
        _ => "(x * 1e-3).layer_norm(#{weight: w, bias: b, eps: 1e-6})",
    };
    let inputs = [input("x", &dims, "apart"), input("w", &[width], ""), input("b", &[width], "")];
    (inputs.join("; "), script.to_owned())
}

pub fn cross_entropy(draw: &mut Draw) -> Case {
    let (rows, classes) = (draw.within(2, 5), draw.within(2, 4));
    let mut targets: Vec<i64> =
        draw.places(rows, classes).into_iter().map(|id| id as i64).collect();
    // One at least counts.
    for target in &mut targets[1..] {
        if draw.below(3) == 0 {
            *target = -100;
        }
    }
    let scale = draw.of(&["1.0", "0.01", "50.0"]);
    let reduction = draw.of(&["mean", "sum", "none"]);
    let script = format!(
        "cross_entropy(x * {scale}, tensor({targets:?}), #{{reduction: \"{reduction}\"}}) / {scale}"
    );
    (input("x", &[rows, classes], ""), script)
}

/// A matrix of the shape with different numbers on its diagonal, which keeps singular values and
/// eigenvalues apart.
fn apart(rows: usize, columns: usize) -> String {
    let row = |i: usize| -> Vec<f64> {
        (0..columns).map(|j| if i == j { 1.5 * (i + 1) as f64 } else { 0.0 }).collect()
    };
    format!("tensor({:?}, #{{dtype: \"f64\"}})", (0..rows).map(row).collect::<Vec<_>>())
}

pub fn decomposition(draw: &mut Draw) -> Case {
    let mut dims = draw.dims(0, 1);
    dims.truncate(1);
    let [rows, columns] = [0; 2].map(|_| draw.within(1, 3));
    let square = draw.often();
    let columns = if square { rows } else { columns };
    dims.extend([rows, columns]);
    let x = format!("(x * 0.2 + {})", apart(rows, columns));
    let script = match draw.below(4) {
        0 => format!("let d = {x}.svd(); [d.u, d.s, d.vh]"),
        1 if square => {
            format!("let s = {x} + {x}.transpose(-1, -2); let d = s.eigh(); [d.values, d.vectors]")
        }
        2 if square => format!("{x}.matrix_exp()"),
        _ => format!("let d = {x}.qr(); [d.q, d.r]"),
    };
    (input("x", &dims, ""), script)
}

pub fn linear_system(draw: &mut Draw) -> Case {
    let columns = draw.within(1, 3);
    let rows = draw.within(columns, 4);
    let sides = draw.within(1, 2);
    let tall = format!("(x * 0.2 + {})", apart(rows, columns));
    let square = format!("(x[0..{columns}] * 0.2 + {})", apart(columns, columns));
    let script = match draw.below(5) {
        0 => format!("lstsq({tall}, b)"),
        1 => format!("solve({square}, b[0..{columns}]) + x.sum()"),
        2 => format!("{square}.inv() * x.sum() * b.sum()"),
        3 => format!("{tall}.pinv() * b.sum()"),
        _ => format!("{square}.det() * x.sum() * b.sum()"),
    };
    (format!("{}; {}", input("x", &[rows, columns], ""), input("b", &[rows, sides], "")), script)
}
