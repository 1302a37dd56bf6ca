//! Names of PyTorch, NumPy, TransformerLens and Python that do not exist here, and what replaces
//! each.

/// The type of the value before the dot of a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum On {
    /// A tensor.
    Tensor,
    /// A model.
    Model,
    /// The output of a forward pass.
    Output,
    /// An array.
    Array,
    /// A string.
    Text,
    /// No value: the name stands alone.
    Nothing,
}

impl On {
    /// The type that error messages call `word`.
    pub fn of(word: &str) -> Option<Self> {
        match word {
            "tensor" => Some(Self::Tensor),
            "model" => Some(Self::Model),
            "output" => Some(Self::Output),
            "array" => Some(Self::Array),
            "string" => Some(Self::Text),
            _ => None,
        }
    }
}

const GRADIENTS: &str = "gradient(loss, v) gives that of v = variable(x); m.gradients(ids, \"post-mlp\", |out| …) those at hook points";
const VARIABLES: &str =
    "let v = variable(x); makes a tensor whose gradients are kept: gradient(loss, v)";
const BACKWARD_HOOKS: &str = "hook(\"post-mlp\", |g, ctx| …, #{backward: true}) is given the gradient as it passes the point, within m.gradients and gradient";
const NO_GRAPH: &str =
    "no_grad(|| …) computes without a graph of gradients; x.detach() is x outside of it";
const CAST: &str = "x.to(\"f32\") converts: f32, f16, bf16, f64, i64, u32, u8, bool";
const IN_PLACE: &str = "x += y, x *= y and x[..] = y write into x";
const ALONE: &str = "functions stand by themselves: zeros([2, 3]), cat([a, b], 0), x.softmax(-1)";
const HOOKS: &str = "m.forward(ids, context([hook(\"post-mlp\", |x, ctx| x * 0.0)])) runs with hooks, which end with their context";
const TOKENIZER: &str = "m.encode(text) gives ids, m.decode(ids) a text, m.tokens(text) the tokens' texts, m.token_id(\" Mary\") one token's id";
const WEIGHTS: &str = "m.heads(0).w_q [h, d, c], and w_k, w_v, w_o, are a layer's; m.weight(name) is any tensor of the checkpoint";

/// Names that do not exist here: what they are looked up on, the names, and the help for them.
pub const NAMES: &[(On, &[&str], &str)] = &[
    // PyTorch's and NumPy's tensors.
    (
        On::Tensor,
        &["view", "view_as", "reshape_as", "resize"],
        "x.reshape([2, -1]) gives it that shape",
    ),
    (On::Tensor, &["size"], "x.shape is the array of its sizes, x.shape[0] the first of them"),
    (On::Tensor, &["clone", "deepcopy"], "x.copy() is a tensor of its own"),
    (On::Tensor, &["t"], "x.T is the transpose"),
    (On::Tensor, &["mT", "swapaxes", "swapdims", "H"], "x.transpose(-1, -2) swaps two dims"),
    (On::Tensor, &["backward", "grad", "grad_fn"], GRADIENTS),
    (On::Tensor, &["requires_grad", "requires_grad_", "retain_grad", "is_leaf"], VARIABLES),
    (On::Tensor, &["register_hook"], BACKWARD_HOOKS),
    (
        On::Tensor,
        &["numpy", "tolist", "to_list", "data"],
        "x.to_array() gives nested arrays; save(\"x.npy\", x) writes a file that NumPy reads",
    ),
    (On::Tensor, &["cuda"], "x.to(\"cuda\") moves it there"),
    (On::Tensor, &["float", "half", "double", "bfloat16", "long", "int", "type", "astype"], CAST),
    (On::Tensor, &["dim", "ndim", "ndimension"], "x.rank is how many dims it has"),
    (On::Tensor, &["nelement", "element_size"], "x.numel is how many elements it has"),
    (
        On::Tensor,
        &["contiguous", "requires", "data_ptr"],
        "x itself will do: how it lies in memory does not matter",
    ),
    (
        On::Tensor,
        &["add", "sub", "mul", "div", "pow", "neg"],
        "x + y, x - y, x * y, x / y and x ** y calculate",
    ),
    (On::Tensor, &["mm", "bmm", "mv"], "x.matmul(y) is the matrix product, of batches too"),
    (
        On::Tensor,
        &["eq", "ne", "lt", "le", "gt", "ge"],
        "x == y, x < y and so on compare, and give a tensor of bools",
    ),
    (
        On::Tensor,
        &["logical_and", "logical_or", "logical_not", "logical_xor"],
        "x & y, x | y and !x, of tensors of bools",
    ),
    (On::Tensor, &["masked_select"], "x[mask] picks where the mask is true"),
    (On::Tensor, &["amax", "amin", "nanmax"], "x.max(dim) and x.min(dim) give the values"),
    (On::Tensor, &["values"], "max(dim) and min(dim) give the values alone: x.max(1) is enough"),
    (
        On::Tensor,
        &["indices"],
        "x.argmax(dim) tells where the largest are; topk and sort give #{values, indices}",
    ),
    (On::Tensor, &["tile"], "x.repeat([2, 1]) repeats along its dims"),
    (On::Tensor, &["expand_as"], "x.expand(y.shape) does that"),
    (On::Tensor, &["unbind"], "for row in x goes through the first dim; x[i] is one of them"),
    (
        On::Tensor,
        &["append", "push", "concat", "concatenate"],
        "cat([x, y], 0) joins along a dim, stack([x, y]) along a new one",
    ),
    (
        On::Tensor,
        &["apply", "map"],
        "functions work on all elements at once, as in x.exp(); x.to_array().map(|v| …) goes through them",
    ),
    (On::Tensor, &["is_cuda", "get_device"], "x.device tells where it is"),
    (
        On::Tensor,
        &["rearrange"],
        "einsum, reshape and permute rearrange: x.reshape([b, n, h, c]).permute([0, 2, 1, 3])",
    ),
    (On::Tensor, &["to_dense", "sparse"], "tensors are dense here"),
    // TransformerLens's model, and Hugging Face's.
    (
        On::Model,
        &["run_with_cache", "cache_all", "add_caching_hooks"],
        "m.capture(ids, [\"post-mlp\", \"attn-probs\"]) keeps what stands at points, [l, …] of each",
    ),
    (
        On::Model,
        &[
            "run_with_hooks",
            "add_hook",
            "hooks",
            "add_perma_hook",
            "register_forward_hook",
            "register_forward_pre_hook",
        ],
        HOOKS,
    ),
    (
        On::Model,
        &["bwd_hooks", "register_full_backward_hook", "register_backward_hook"],
        BACKWARD_HOOKS,
    ),
    (
        On::Model,
        &["reset_hooks", "remove_all_hook_fns"],
        "hooks belong to a context, not to the model: there are none to reset",
    ),
    (
        On::Model,
        &["hook_dict", "hook_points", "named_modules", "modules"],
        "`precompute points` lists the hook points",
    ),
    (On::Model, &["to_tokens"], "m.encode(text) gives ids [1, n]"),
    (On::Model, &["to_str_tokens", "to_str_token"], "m.tokens(text) gives the tokens' texts"),
    (On::Model, &["to_string", "to_single_str_token"], "m.decode(ids) gives the text"),
    (
        On::Model,
        &["to_single_token"],
        "m.token_id(\" Mary\") gives the id of a text that is one token",
    ),
    (On::Model, &["tokenizer", "tokenize", "apply_chat_template"], TOKENIZER),
    (On::Model, &["cfg"], "m.config has the checkpoint's settings"),
    (On::Model, &["n_layers", "num_layers"], "m.config.num_hidden_layers is how many there are"),
    (On::Model, &["d_model"], "m.config.hidden_size is d"),
    (On::Model, &["n_heads"], "m.config.num_attention_heads is how many there are"),
    (On::Model, &["d_head"], "m.config.head_dim is the size of a head"),
    (On::Model, &["d_vocab"], "m.config.vocab_size is how many tokens there are"),
    (
        On::Model,
        &["W_Q", "W_K", "W_V", "W_O", "QK", "OV", "blocks", "layers", "transformer"],
        WEIGHTS,
    ),
    (
        On::Model,
        &["W_E", "W_U", "W_pos", "embed", "b_U", "state_dict", "parameters", "named_parameters"],
        WEIGHTS,
    ),
    (On::Model, &["ln_final", "ln_f", "norm"], "m.final_norm(x) applies it"),
    (On::Model, &["lm_head"], "m.unembed(x) gives logits"),
    (On::Model, &["logits"], "m.forward(ids).logits are they"),
    (On::Model, &["loss"], "m.forward(ids, #{loss: true}).loss is it"),
    (
        On::Model,
        &["train"],
        "a model runs without dropout; m.trainable(\"*\").model is one whose weights can be moved",
    ),
    (
        On::Model,
        &["requires_grad_", "requires_grad", "zero_grad"],
        "m.trainable(pattern).variables are weights that have gradients, new ones for each loss",
    ),
    (
        On::Model,
        &["load_state_dict", "set_weight"],
        "m.with_weights(#{name: tensor}) is a model with other weights",
    ),
    (
        On::Model,
        &["save_pretrained", "push_to_hub"],
        "m.save(name) writes a checkpoint into the run's directory",
    ),
    (
        On::Model,
        &["load_adapter", "add_adapter", "merge_and_unload"],
        "m.with_adapter(id) is the model with a LoRA adapter",
    ),
    (On::Model, &["init_weights", "post_init"], "m.reset_weights(#{seed}) is a random twin"),
    (
        On::Model,
        &["to", "cuda", "half", "float"],
        "model(id, #{device: \"cuda\", dtype: \"f16\"}) loads it there",
    ),
    (On::Model, &["from_pretrained"], "model(\"gpt2\") loads one"),
    (
        On::Output,
        &["hidden_states"],
        "m.capture(ids, \"post-mlp\") gives the stream after every block, [l, b, n, d]",
    ),
    (
        On::Output,
        &["attentions"],
        "m.capture(ids, \"attn-probs\") gives the patterns of every block, [l, b, h, n, m]",
    ),
    (
        On::Output,
        &["last_hidden_state"],
        "m.capture(ids, \"post-final-layer-norm\") gives it, [b, n, d]",
    ),
    (
        On::Output,
        &["softmax", "shape", "argmax", "log_softmax"],
        ".logits comes first: m.forward(ids).logits",
    ),
    (On::Output, &["backward", "grad"], GRADIENTS),
    // Python's lists and texts.
    (On::Array, &["extend"], "list += other adds all of another"),
    (On::Array, &["sorted"], "list.order() is a sorted one, list.sort() sorts it in place"),
    (On::Array, &["reversed"], "list.reverse() turns it around in place"),
    (On::Array, &["index"], "list.index_of(x) tells where it is, -1 where it is not"),
    (On::Array, &["shape", "softmax", "matmul"], "tensor(list) makes a tensor of it"),
    (On::Array, &["copy"], "let other = list; is a copy: arrays are values"),
    (On::Text, &["format"], "values stand in backticks: `layer ${n}`"),
    (
        On::Text,
        &["join"],
        "list.reduce(|all, text| all + \", \" + text, \"\") joins; print shows a list as it is",
    ),
    (On::Text, &["strip", "lstrip", "rstrip"], "text.trim() cuts the spaces"),
    (On::Text, &["startswith"], "text.starts_with(\"a\") tells it"),
    (On::Text, &["endswith"], "text.ends_with(\"a\") tells it"),
    (On::Text, &["upper", "lower"], "text.to_upper() and text.to_lower() change it"),
    (On::Text, &["find"], "text.index_of(\"a\") tells where it is, -1 where it is not"),
    (On::Text, &["encode", "decode"], TOKENIZER),
    // Modules, values and functions.
    (On::Nothing, &["torch", "np", "numpy", "nn", "jnp", "jax", "tf", "linalg"], ALONE),
    (
        On::Nothing,
        &["F", "functional"],
        "functions stand by themselves: x.softmax(-1), x.gelu(), cross_entropy(logits, ids)",
    ),
    (
        On::Nothing,
        &["einops"],
        "einsum(\"b h n m, b h m c -> b h n c\", a, b) stands by itself; reshape and permute rearrange",
    ),
    (
        On::Nothing,
        &["rearrange"],
        "reshape and permute rearrange: x.reshape([b, n, h, c]).permute([0, 2, 1, 3])",
    ),
    (
        On::Nothing,
        &[
            "transformer_lens",
            "tl",
            "HookedTransformer",
            "AutoModelForCausalLM",
            "AutoModel",
            "LanguageModel",
            "GPT2LMHeadModel",
        ],
        "model(\"gpt2\") loads a model",
    ),
    (On::Nothing, &["AutoTokenizer", "tokenizer", "to_tokens", "to_str_tokens"], TOKENIZER),
    (
        On::Nothing,
        &["run_with_cache"],
        "m.capture(ids, [\"post-mlp\", \"attn-probs\"]) keeps what stands at points",
    ),
    (On::Nothing, &["run_with_hooks"], HOOKS),
    (On::Nothing, &["bwd_hooks"], BACKWARD_HOOKS),
    (
        On::Nothing,
        &["grad", "backward", "value_and_grad", "autograd", "jacobian", "jacrev", "vjp"],
        GRADIENTS,
    ),
    (On::Nothing, &["Parameter", "Variable"], VARIABLES),
    (On::Nothing, &["enable_grad", "set_grad_enabled", "inference_mode"], NO_GRAPH),
    (
        On::Nothing,
        &["plt", "px", "sns", "matplotlib", "imshow", "line", "circuitsvis", "cv"],
        "plot(#{x, y}), heatmap(x) and attention(tokens, pattern) draw",
    ),
    (
        On::Nothing,
        &["pd", "DataFrame"],
        "table([#{layer: 0, loss: 1.5}]) shows rows, save(\"rows.csv\", rows) writes them",
    ),
    (On::Nothing, &["tqdm"], "let bar = progress(\"layers\", n); and bar.tick(); in the loop"),
    (
        On::Nothing,
        &["optim", "optimizer", "Adam", "AdamW", "SGD"],
        "adam(vars, #{lr: 1e-3}), adamw and sgd are optimisers: o.step(loss) goes back and moves",
    ),
    (
        On::Nothing,
        &["PeftModel", "get_peft_model", "LoraConfig"],
        "m.with_adapter(id) is a model with a LoRA adapter",
    ),
    (
        On::Nothing,
        &["get_cosine_schedule_with_warmup", "get_linear_schedule_with_warmup"],
        "import \"lib/train\" as train; has train::cosine(step, steps, #{lr}) and train::linear",
    ),
    (On::Nothing, &["None"], "() stands for nothing"),
    (On::Nothing, &["True", "False"], "true and false are written small"),
    (
        On::Nothing,
        &["self"],
        "this stands for what is before the dot in a function called as a method",
    ),
    (On::Nothing, &["not"], "!x is the opposite of x"),
    (On::Nothing, &["str", "repr"], "`${x}` makes a text of a value"),
    (On::Nothing, &["int"], "x.to_int() converts a number, parse_int(text) a text"),
    (On::Nothing, &["float"], "x.to_float() converts a number, parse_float(text) a text"),
    (On::Nothing, &["list", "tuple"], "x.to_array() makes arrays of a tensor; [1, 2] is an array"),
    (On::Nothing, &["dict"], "#{a: 1, b: 2} is a map"),
    (On::Nothing, &["enumerate"], "for (x, i) in list counts along"),
    (On::Nothing, &["sorted"], "list.order() is a sorted one"),
    (
        On::Nothing,
        &["reversed"],
        "list.reverse() turns it around in place; range(9, -1, -1) counts down",
    ),
    (On::Nothing, &["isinstance"], "type_of(x) == \"tensor\" tells what a value is"),
    (
        On::Nothing,
        &["len", "size"],
        "x.len is the size of a tensor's first dim, list.len() that of an array",
    ),
    (
        On::Nothing,
        &["input", "argparse", "sys"],
        "param(\"prompt\", \"a default\") is an option of the script, given by --set prompt=…",
    ),
    (On::Nothing, &["open"], "load_tensors(path) reads a file, save(name, value) writes one"),
    (
        On::Nothing,
        &["os", "Path", "requests"],
        "a script reads by load_tensors(path) and writes by save(name, value), and nothing else",
    ),
    (
        On::Nothing,
        &["json"],
        "load_json(path) and parse_json(text) read, map.to_json() and save(\"x.json\", value) write",
    ),
    (On::Nothing, &["math"], "sqrt(x), exp(x), sin(x) stand by themselves, and PI() is π"),
    (On::Nothing, &["random"], "rand([2, 3]) and randn([2, 3]) draw, seed(1) makes it repeatable"),
    (On::Nothing, &["time"], "timestamp().elapsed are the seconds since then"),
    (On::Nothing, &["print_function", "display", "println", "printf"], "print(`${x} ${y}`) prints"),
];

/// The help for a name that does not exist here.
pub fn name(on: On, name: &str) -> Option<&'static str> {
    let known = NAMES
        .iter()
        .find(|(of, names, _)| *of == on && names.contains(&name))
        .map(|(.., here)| *here);
    known.or_else(|| {
        let in_place =
            on == On::Tensor && name.len() > 1 && name.ends_with('_') && !name.ends_with("__");
        in_place.then_some(IN_PLACE)
    })
}

/// The option of this program that another library calls `name`.
pub fn option(name: &str) -> Option<&'static str> {
    match name {
        "axis" | "axes" => Some("dim"),
        "keepdims" => Some("keepdim"),
        "unbiased" | "ddof" => Some("correction"),
        "learning_rate" => Some("lr"),
        "max_norm" | "max_grad_norm" => Some("clip"),
        "dir" | "bwd" | "is_backward" => Some("backward"),
        "max_length" | "max_tokens" => Some("max_new_tokens"),
        _ => None,
    }
}
