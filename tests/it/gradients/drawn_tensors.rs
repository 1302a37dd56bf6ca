//! Drawn cases of what is done to elements, parts and shapes.

use super::drawn::{Case, input};
use super::random::{Draw, Shaped};

pub fn elements(draw: &mut Draw) -> Case {
    let dims = draw.dims(0, 4);
    let Shaped { text, .. } = draw.view("x", &dims);
    let (f, what) = draw.of(&[
        ("exp", ""),
        ("expm1", ""),
        ("log", "pos"),
        ("log2", "pos"),
        ("log10", "pos"),
        ("log1p", "pos"),
        ("sqrt", "pos"),
        ("rsqrt", "pos"),
        ("sin", ""),
        ("cos", ""),
        ("tanh", ""),
        ("sigmoid", ""),
        ("gelu", ""),
        ("silu", ""),
        ("erf", ""),
        ("abs", "apart"),
        ("relu", "apart"),
    ]);
    let g = draw.of(&["sin", "tanh", "gelu", "sigmoid", "erf"]);
    (input("x", &dims, what), format!("{text}.{f}().{g}() * {text}"))
}

pub fn broadcasting(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 4);
    let Shaped { text, dims: shown } = draw.view("x", &dims);
    let other = draw.narrower(&shown);
    let script = match draw.below(7) {
        0 => format!("{text} + y * {text}"),
        1 => format!("y - {text}"),
        2 => format!("{text} * y"),
        3 => format!("{text} / y"),
        4 => format!("y ** {text}"),
        5 => format!("where(y > 1.2, {text} * y, {text} - y)"),
        _ => format!("{}({text}, y)", draw.of(&["minimum", "maximum"])),
    };
    (format!("{}; {}", input("x", &dims, ""), input("y", &other, "pos")), script)
}

pub fn complex(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 3);
    let Shaped { text, dims: shown } = draw.view("z", &dims);
    let other = draw.narrower(&shown);
    let script = match draw.below(6) {
        0 => format!("{text} * w + w.conj()"),
        1 => format!("{text} / (w * 0.1 + 2.0)"),
        2 => format!("({text} * w).abs()"),
        3 => format!("({text} - w).angle() * 0.1 + {text}.imag"),
        4 => format!("{text}.sum(0) * w.mean()"),
        _ => format!("let t = {text} * 1.0; t.real = w.abs(); t * t"),
    };
    (format!("{}; {}", input("z", &dims, "complex"), input("w", &other, "complex")), script)
}

/// An index for each dim, or for the first ones; and the shape of what they select.
fn index(draw: &mut Draw, dims: &[usize], repeats: bool) -> (String, Vec<usize>) {
    let mut picks = false;
    let (mut parts, mut selected) = (Vec::new(), Vec::new());
    for &size in &dims[..draw.within(1, dims.len())] {
        parts.push(match draw.below(4) {
            0 => draw.below(size).to_string(),
            1 => {
                let from = draw.below(size);
                let to = draw.within(from + 1, size);
                selected.push(to - from);
                format!("{from}..{to}")
            }
            // At most one list, so that its place in the result is its own.
            2 if !picks => {
                picks = true;
                let mut places: Vec<usize> = (0..size).collect();
                draw.shuffle(&mut places);
                let count = draw.within(1, size);
                places.truncate(count);
                if repeats {
                    places = draw.places(count + 1, size);
                }
                selected.push(places.len());
                format!("{places:?}")
            }
            _ => {
                selected.push(size);
                "..".into()
            }
        });
    }
    selected.extend(&dims[parts.len()..]);
    (format!("[[{}]]", parts.join(", ")), selected)
}

pub fn indexing(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 4);
    let Shaped { text, dims: shown } = draw.view("x", &dims);
    let script = match draw.below(4) {
        0 => format!("{text}[{text} > 0.0] * 2.0 + x.sum()"),
        1 => {
            let (dim, by) = draw.dim(shown.len());
            let places = draw.places(3, shown[dim]);
            format!("{text}.index_select({by}, tensor({places:?})) * 1.5")
        }
        _ => {
            let (index, _) = index(draw, &shown, true);
            format!("let t = {text}; t{index} * t{index}")
        }
    };
    (input("x", &dims, "apart"), script)
}

pub fn writing(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 4);
    let Shaped { text, dims: shown } = draw.view("x", &dims);
    let (index, selected) = index(draw, &shown, false);
    let other = draw.narrower(&selected);
    let how = draw.of(&["=", "+=", "*=", "-="]);
    let start = draw.of(&["* 2.0", "* x.sum()", ".sin()"]);
    let script =
        format!("let t = {text} {start}; let same = t; same{index} {how} y; t * t + t.sum()");
    (format!("{}; {}", input("x", &dims, ""), input("y", &other, "")), script)
}

pub fn gathering(draw: &mut Draw) -> Case {
    let dims = draw.dims(2, 2);
    let (rows, columns) = (draw.within(1, dims[0]), draw.within(1, 3));
    let places: Vec<Vec<usize>> = (0..rows).map(|_| draw.places(columns, dims[1])).collect();
    let script = match draw.below(3) {
        0 => format!("x.gather(1, tensor({places:?})) * y"),
        1 => {
            let places: Vec<Vec<usize>> =
                (0..rows).map(|_| draw.places(columns.min(dims[1]), dims[0])).collect();
            let y = format!("y[[.., 0..{}]]", columns.min(dims[1]));
            format!("x.gather(0, tensor({places:?})) * {y}")
        }
        _ => format!("x.scatter(1, tensor({places:?}), y) * x"),
    };
    (format!("{}; {}", input("x", &dims, ""), input("y", &[rows, columns], "")), script)
}

pub fn shapes(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 4);
    let Shaped { text, dims: shown } = draw.view("x", &dims);
    let (at, dim) = draw.dim(shown.len());
    let count: usize = shown.iter().product();
    let script = match draw.below(9) {
        0 => format!("{text}.reshape([-1]) * arange({count})"),
        1 => format!("{text}.flatten() * arange({count})"),
        2 => format!("{text}.repeat_interleave({}, {at})", draw.within(1, 3)),
        3 => format!("{text}.roll({}, {at})", draw.within(1, 3)),
        4 => format!("{text}.split({}, {at})", draw.within(1, shown[at])),
        5 => format!("{text}.chunk({}, {at})", draw.within(1, shown[at])),
        6 if shown.len() >= 2 => {
            format!("{text}.{}({})", draw.of(&["tril", "triu"]), draw.below(3) as i64 - 1)
        }
        7 if shown.len() >= 2 => format!("{text}.diagonal({}, 0, -1)", 0),
        _ => {
            let times: Vec<usize> = shown.iter().map(|_| draw.within(1, 2)).collect();
            format!("{text}.repeat({times:?}).flip({dim})")
        }
    };
    (input("x", &dims, ""), script)
}

pub fn joining(draw: &mut Draw) -> Case {
    let dims = draw.dims(1, 3);
    let (at, dim) = draw.dim(dims.len());
    let mut other = dims.clone();
    other[at] = draw.within(1, 3);
    let script = match draw.below(3) {
        0 => format!("cat([x, y, x.sin()], {dim})"),
        1 => format!("cat([y, x], {dim}).cumsum({at})"),
        _ => format!("stack([x, x * x], {at}) * y.sum()"),
    };
    (format!("{}; {}", input("x", &dims, ""), input("y", &other, "")), script)
}
