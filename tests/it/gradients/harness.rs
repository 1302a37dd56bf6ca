//! Scripts whose inputs are variables, and the gradients of what they give.

use candle_core::{DType, Device, Tensor, Var};
use precompute::script::value::Handle;
use precompute::tensor::{Complex, Value};
use rhai::{AST, Array, Dynamic, Engine, Scope};

/// The inputs of a script, by name; each with its numbers.
pub struct Inputs(Vec<Input>);

struct Input {
    name: String,
    dims: Vec<usize>,
    /// The numbers, and for a complex tensor the imaginary parts.
    parts: Vec<Var>,
}

/// Reads `x 2,3; y 3 pos`: a name, the sizes of the dims (`-` for none) and what numbers: normal ones
/// unless it says `pos` (from 0.5 to 2), `apart` (no two nearer than 0.1), or `complex`.
pub fn inputs(text: &str) -> Inputs {
    inputs_of(text, 7)
}

/// As [`inputs`], with other numbers for each seed.
pub fn inputs_of(text: &str, mut seed: u64) -> Inputs {
    let mut noise = move || {
        let mut uniform = || {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 11) as f64 / (1u64 << 53) as f64
        };
        (-2.0 * uniform().max(1e-12).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
    };
    let inputs = text.split(';').map(|input| {
        let words: Vec<&str> = input.split_whitespace().collect();
        let dims: Vec<usize> = match words[1] {
            "-" => vec![],
            sizes => sizes.split(',').map(|size| size.parse().unwrap()).collect(),
        };
        let count = dims.iter().product::<usize>();
        let what = words.get(2).copied().unwrap_or("");
        let numbers = |noise: &mut dyn FnMut() -> f64| -> Vec<f64> {
            match what {
                "pos" => (0..count).map(|_| 1.25 + 0.75 * noise().tanh()).collect(),
                // The multiples of an odd number modulo a greater prime are all different.
                "apart" => (0..count).map(|i| ((i * 37 + 11) % 101) as f64 * 0.13 - 6.0).collect(),
                _ => (0..count).map(|_| noise()).collect(),
            }
        };
        let parts = if what == "complex" { 2 } else { 1 };
        let parts = (0..parts)
            .map(|_| {
                let numbers = numbers(&mut noise);
                Var::from_vec(numbers, dims.as_slice(), &Device::Cpu).unwrap()
            })
            .collect();
        Input { name: words[0].to_owned(), dims, parts }
    });
    Inputs(inputs.collect())
}

impl Inputs {
    pub fn parts(&self) -> impl Iterator<Item = &Var> {
        self.0.iter().flat_map(|input| &input.parts)
    }

    /// As tensors of scripts, of which the variables have a graph.
    pub fn handles(&self, tracked: bool) -> Vec<(String, Handle)> {
        let tensor = |part: &Var| match tracked {
            true => part.as_tensor().clone(),
            false => part.as_detached_tensor().copy().unwrap(),
        };
        let handle = |input: &Input| {
            let value = match input.parts.as_slice() {
                [re, im] => Value::Complex(Complex { re: tensor(re), im: tensor(im) }),
                parts => Value::Real(tensor(&parts[0])),
            };
            (input.name.clone(), Handle::fresh(value))
        };
        self.0.iter().map(handle).collect()
    }

    /// As [`handles`](Self::handles) without a graph, with a number of one part moved.
    pub fn moved(&self, part: usize, place: usize, by: f64) -> Vec<(String, Handle)> {
        let mut at = 0;
        let handle = |input: &Input| {
            let tensors = input.parts.iter().map(|var| {
                let mut numbers = numbers(var.as_tensor());
                if at == part {
                    numbers[place] += by;
                }
                at += 1;
                Tensor::from_vec(numbers, input.dims.as_slice(), &Device::Cpu).unwrap()
            });
            let tensors: Vec<Tensor> = tensors.collect();
            let value = match tensors.as_slice() {
                [re, im] => Value::Complex(Complex { re: re.clone(), im: im.clone() }),
                tensors => Value::Real(tensors[0].clone()),
            };
            (input.name.clone(), Handle::fresh(value))
        };
        self.0.iter().map(handle).collect()
    }

    /// The same numbers in another dtype.
    pub fn cast(&self, dtype: DType) -> Self {
        let cast = |input: &Input| Input {
            name: input.name.clone(),
            dims: input.dims.clone(),
            parts: input
                .parts
                .iter()
                .map(|part| Var::from_tensor(&part.to_dtype(dtype).unwrap().detach()).unwrap())
                .collect(),
        };
        Self(self.0.iter().map(cast).collect())
    }

    pub fn are_complex(&self) -> bool {
        self.0.iter().any(|input| input.parts.len() > 1)
    }

    /// The gradient of each part.
    pub fn gradients(&self, loss: &Tensor) -> Vec<Vec<f64>> {
        let gradients = loss.backward().unwrap();
        self.parts()
            .map(|part| match gradients.get(part.as_tensor()) {
                Some(gradient) => {
                    assert_eq!(gradient.dims(), part.dims());
                    numbers(gradient)
                }
                None => vec![0.0; part.elem_count()],
            })
            .collect()
    }
}

pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

pub fn run(engine: &Engine, script: &str, inputs: &[(String, Handle)]) -> Result<Dynamic, String> {
    let script = engine.compile(script).map_err(|error| error.to_string())?;
    evaluated(engine, &script, inputs)
}

pub fn evaluated(
    engine: &Engine,
    script: &AST,
    inputs: &[(String, Handle)],
) -> Result<Dynamic, String> {
    let mut scope = Scope::new();
    for (name, handle) in inputs {
        scope.push(name.as_str(), handle.clone());
    }
    engine.eval_ast_with_scope::<Dynamic>(&mut scope, script).map_err(|error| error.to_string())
}

/// A real number made of all parts of a result, each with a weight of its own.
pub struct Loss(pub Vec<Tensor>);

impl Loss {
    pub fn of(result: &Dynamic) -> Self {
        if let Some(handle) = result.read_lock::<Handle>() {
            return Self(handle.value().parts().into_iter().cloned().collect());
        }
        let array = result.read_lock::<Array>().unwrap();
        Self(array.iter().flat_map(|of| Self::of(of).0).collect())
    }

    pub fn is_tracked(&self) -> bool {
        self.0.iter().any(|part| part.track_op() && !part.dtype().is_int())
    }

    fn weights(count: usize, part: usize) -> Vec<f64> {
        (0..count).map(|i| ((i * 31 + part * 17 + 5) % 23) as f64 / 11.0 - 0.9).collect()
    }

    pub fn tensor(&self) -> Tensor {
        let mut sum = Tensor::zeros((), DType::F64, &Device::Cpu).unwrap();
        for (i, part) in self.0.iter().enumerate() {
            let weights = Self::weights(part.elem_count(), i);
            let weights = Tensor::from_vec(weights, part.shape().clone(), &Device::Cpu).unwrap();
            let wide = part.to_dtype(DType::F64).unwrap();
            sum = (sum + (wide * weights).unwrap().sum_all().unwrap()).unwrap();
        }
        sum
    }

    pub fn number(&self) -> f64 {
        let part = |(i, part): (usize, &Tensor)| -> f64 {
            let elements = numbers(part);
            elements.iter().zip(Self::weights(elements.len(), i)).map(|(x, w)| x * w).sum()
        };
        self.0.iter().enumerate().map(part).sum()
    }
}
