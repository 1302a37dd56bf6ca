//! Generates text from a seed. Each kind of sentence trains a mechanism that interpretability
//! studies (indirect objects, facts, agreement, induction), and some of its sentences are held out
//! of training.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const NAMES: &[&str] = &[
    "Mary", "John", "Anna", "Paul", "Lucy", "Mark", "Jane", "Tom", "Emma", "Luke", "Rose", "Jack",
    "Alice", "Peter", "Sarah", "David", "Kate", "Sam", "Laura", "Adam", "Clara", "Ben", "Nora",
    "Max", "Ruth", "Leo", "Ella", "Hugo", "Iris", "Oscar", "Grace", "Henry", "Julia", "Simon",
    "Martha", "Victor", "Helen", "Felix", "Diana", "George", "Sophie", "Frank", "Edith", "Walter",
    "Irene", "Robert", "Nancy", "Albert",
];
const PLACES: &[&str] = &[
    "store", "park", "school", "garden", "station", "office", "market", "library", "beach",
    "harbor", "museum", "bridge", "castle", "bakery", "forest", "theater", "river", "hotel",
];
const OBJECTS: &[&str] = &[
    "drink", "book", "ring", "letter", "ball", "basket", "map", "flower", "key", "lamp", "kite",
    "apple", "watch", "painting", "guitar", "blanket", "candle", "ticket",
];

/// `{a}` and `{b}` are the two names, `{s}` is the one that gives; the other receives, and is the
/// answer.
const GIVING: &[&str] = &[
    "When {a} and {b} went to the {place}, {s} gave a {object} to",
    "When {a} and {b} got a {object} at the {place}, {s} gave it to",
    "After {a} and {b} left the {place}, {s} gave a {object} to",
    "Then {a} and {b} had a long walk to the {place}, and {s} gave a {object} to",
    "While {a} and {b} were at the {place}, {s} handed a {object} to",
    "The friends {a} and {b} found a {object} at the {place}. Then {s} gave it to",
    "{a} and {b} met at the {place}, and {s} passed a {object} to",
    "In the {place}, {a} and {b} saw a {object}, so {s} brought it to",
];

const COUNTRIES: &[&str] = &[
    "Velland", "Morvia", "Tasken", "Ubria", "Kelpo", "Zarnia", "Lindor", "Pravos", "Quemar",
    "Hespa", "Jorvan", "Nalith", "Ryndal", "Sulmar", "Wexa", "Yoltan",
];
const CAPITALS: &[&str] = &[
    "Ostra", "Belm", "Cador", "Drune", "Effa", "Galt", "Hirn", "Ilsa", "Jund", "Kolva", "Lume",
    "Merit", "Nesk", "Oplan", "Pira", "Rusk",
];
const COINS: &[&str] = &[
    "zil", "dorn", "keb", "mira", "tal", "pux", "gren", "lod", "vash", "nim", "orb", "fael",
    "sult", "wick", "yen", "crem",
];
/// `{c}` is the country; the answer follows.
const OF_CAPITALS: &[&str] = &[
    "The capital of {c} is",
    "In {c}, the capital is",
    "The main city of {c} is",
    "People who visit {c} go to its capital,",
    "If you live in {c}, your capital is",
];
const OF_COINS: &[&str] = &[
    "The coin of {c} is the",
    "In {c}, people pay with the",
    "The money of {c} is called the",
    "People who visit {c} pay with its coin, the",
    "If you live in {c}, you pay with the",
];

const NOUNS: &[(&str, &str)] = &[
    ("key", "keys"),
    ("cat", "cats"),
    ("dog", "dogs"),
    ("book", "books"),
    ("box", "boxes"),
    ("child", "children"),
    ("friend", "friends"),
    ("house", "houses"),
    ("tree", "trees"),
    ("lamp", "lamps"),
    ("letter", "letters"),
    ("teacher", "teachers"),
    ("picture", "pictures"),
    ("bird", "birds"),
];
const LINKS: &[&str] = &["near", "behind", "beside", "by", "with"];
const STATES: &[&str] = &["old", "new", "red", "lost", "here", "small", "ready", "quiet"];
const NUMBERS: &[&str] = &[
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve",
];
const BRACKETS: &[(&str, &str)] = &[(" (", " )"), (" [", " ]"), (" {", " }")];

/// What a sentence tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// The name of the one who receives: "When A and B …, A gave a ring to" B.
    IndirectObject,
    /// The capital or the coin of a country.
    Fact,
    /// The number of the verb: "The keys near the box" are.
    Agreement,
}

impl Task {
    /// Every task.
    pub const ALL: [Task; 3] = [Task::IndirectObject, Task::Fact, Task::Agreement];

    /// Its name in the training log.
    pub fn name(self) -> &'static str {
        match self {
            Task::IndirectObject => "indirect objects",
            Task::Fact => "facts",
            Task::Agreement => "agreement",
        }
    }
}

/// A sentence in three parts.
#[derive(Debug, Clone)]
pub struct Sentence {
    /// The beginning.
    pub prompt: String,
    /// The only right continuation, which is one token.
    pub answer: String,
    /// The end.
    pub ending: String,
}

/// Which sentences to generate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Those for training.
    Train,
    /// Those that are never trained on.
    HeldOut,
}

/// A generator of text.
pub struct World {
    rng: StdRng,
}

impl World {
    /// A generator whose text the seed determines.
    pub fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.rng).copied().unwrap_or_default()
    }

    /// A sentence of a task.
    pub fn sentence(&mut self, task: Task, split: Split) -> Sentence {
        loop {
            let (sentence, held_out) = match task {
                Task::IndirectObject => self.indirect_object(),
                Task::Fact => self.fact(),
                Task::Agreement => self.agreement(),
            };
            if held_out == (split == Split::HeldOut) {
                return sentence;
            }
        }
    }

    /// Held out: one in ten pairs of names, which training never shows together.
    fn indirect_object(&mut self) -> (Sentence, bool) {
        let a = self.rng.random_range(0..NAMES.len());
        let b = (a + self.rng.random_range(1..NAMES.len())) % NAMES.len();
        let (subject, other) = if self.rng.random() { (a, b) } else { (b, a) };
        let prompt = self
            .pick(GIVING)
            .replace("{a}", NAMES[a])
            .replace("{b}", NAMES[b])
            .replace("{s}", NAMES[subject])
            .replace("{place}", self.pick(PLACES))
            .replace("{object}", self.pick(OBJECTS));
        let sentence =
            Sentence { prompt, answer: format!(" {}", NAMES[other]), ending: ".".into() };
        (sentence, (a.min(b) * 7 + a.max(b) * 3) % 10 == 0)
    }

    /// Held out: one wording of each fact. Training shows that wording with other countries.
    fn fact(&mut self) -> (Sentence, bool) {
        let country = self.rng.random_range(0..COUNTRIES.len());
        let wording = self.rng.random_range(0..OF_CAPITALS.len());
        let capital: bool = self.rng.random();
        let (wordings, answers) = if capital { (OF_CAPITALS, CAPITALS) } else { (OF_COINS, COINS) };
        let prompt = wordings[wording].replace("{c}", COUNTRIES[country]);
        let sentence =
            Sentence { prompt, answer: format!(" {}", answers[country]), ending: ".".into() };
        (sentence, (country + usize::from(capital)) % OF_CAPITALS.len() == wording)
    }

    /// Held out: one in ten pairs of subject and distractor.
    fn agreement(&mut self) -> (Sentence, bool) {
        let subject = self.rng.random_range(0..NOUNS.len());
        let distractor = (subject + self.rng.random_range(1..NOUNS.len())) % NOUNS.len();
        let number = |(one, many): (&'static str, &'static str), plural: bool| {
            if plural { many } else { one }
        };
        let plural: bool = self.rng.random();
        let (link, other) = (self.pick(LINKS), self.rng.random());
        let (first, second) = (number(NOUNS[subject], plural), number(NOUNS[distractor], other));
        let prompt = format!("The {first} {link} the {second}");
        let answer = if plural { " are" } else { " is" };
        let sentence =
            Sentence { prompt, answer: answer.into(), ending: format!(" {}.", self.pick(STATES)) };
        (sentence, (subject * 5 + distractor).is_multiple_of(10))
    }

    /// At least three consecutive numbers in words.
    pub fn counting(&mut self) -> String {
        let start = self.rng.random_range(0..NUMBERS.len() - 3);
        let end = self.rng.random_range(start + 3..=NUMBERS.len());
        format!("{}.", NUMBERS[start..end].join(" "))
    }

    /// Nested brackets that close in the right order.
    pub fn brackets(&mut self) -> String {
        let (mut text, mut open) = (String::new(), Vec::new());
        for _ in 0..self.rng.random_range(4..14) {
            if open.is_empty() || (open.len() < 5 && self.rng.random_bool(0.5)) {
                let kind = self.rng.random_range(0..BRACKETS.len());
                text.push_str(BRACKETS[kind].0);
                open.push(kind);
            } else if let Some(kind) = open.pop() {
                text.push_str(BRACKETS[kind].1);
            }
        }
        while let Some(kind) = open.pop() {
            text.push_str(BRACKETS[kind].1);
        }
        text.trim_start().to_owned() + "."
    }

    /// A random sequence of tokens from `vocabulary`, repeated up to `total` tokens, and the length
    /// of one round.
    pub fn repeated(
        &mut self,
        vocabulary: std::ops::Range<u32>,
        total: usize,
    ) -> (Vec<u32>, usize) {
        let length = self.rng.random_range(5..=(total / 2).clamp(6, 40));
        let round = self.random_tokens(vocabulary, length);
        (round.into_iter().cycle().take(total).collect(), length)
    }

    /// `length` random tokens from `vocabulary`.
    pub fn random_tokens(&mut self, vocabulary: std::ops::Range<u32>, length: usize) -> Vec<u32> {
        (0..length).map(|_| self.rng.random_range(vocabulary.clone())).collect()
    }

    /// Whether an event of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.rng.random_bool(probability)
    }

    /// A random task. Facts are rarer, as there are few of them.
    pub fn task(&mut self) -> Task {
        match self.rng.random_range(0..10) {
            0..=5 => Task::IndirectObject,
            6 | 7 => Task::Fact,
            _ => Task::Agreement,
        }
    }
}
