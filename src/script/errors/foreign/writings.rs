//! Syntax of Python that scripts do not have, recognised by the line at which parsing fails.

use crate::{Error, error};

/// A construct of another language.
pub struct Writing {
    /// What it is called.
    pub what: &'static str,
    /// How it is written here.
    pub here: &'static str,
    /// Whether it is at the location of a parse error.
    is: fn(&Line) -> bool,
}

/// The line of a parse error without the contents of its strings and without its comment, and its
/// parts before and after the location.
pub struct Line {
    code: String,
    rest: String,
    before: String,
}

impl Line {
    fn of(text: &str, column: Option<usize>) -> Self {
        let code: Vec<char> = without_texts(text).chars().collect();
        let at = column.map_or(0, |column| (column - 1).min(code.len()));
        let part = |chars: &[char]| chars.iter().collect::<String>();
        Self { before: part(&code[..at]), rest: part(&code[at..]), code: part(&code) }
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
    }

    fn first(&self) -> &str {
        self.words().next().unwrap_or_default()
    }

    fn has(&self, word: &str) -> bool {
        self.words().any(|known| known == word)
    }

    fn ends_with_colon(&self) -> bool {
        self.code.trim_end().ends_with(':')
    }

    /// The brackets that are open at the location, the outermost first.
    fn open(&self) -> Vec<char> {
        let mut open = Vec::new();
        for c in self.before.chars() {
            match c {
                '(' | '[' | '{' => open.push(c),
                ')' | ']' | '}' => drop(open.pop()),
                _ => {}
            }
        }
        open
    }

    /// Whether the innermost open bracket is that of an index.
    fn indexes(&self) -> bool {
        let mut depth = 0;
        for (at, c) in self.before.char_indices().rev() {
            match c {
                ')' | ']' | '}' => depth += 1,
                '(' | '[' | '{' if depth > 0 => depth -= 1,
                '[' => {
                    return self.before[..at]
                        .ends_with(|c: char| c.is_alphanumeric() || "_)]".contains(c));
                }
                '(' | '{' => return false,
                _ => {}
            }
        }
        false
    }
}

/// The line with its strings' contents replaced by spaces, and without its comment.
fn without_texts(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    let mut within: Option<char> = None;
    while let Some(c) = chars.next() {
        match within {
            Some(end) if c == end => {
                within = None;
                out.push(c);
            }
            Some(_) => {
                out.push(' ');
                if c == '\\' && chars.next().is_some() {
                    out.push(' ');
                }
            }
            None if c == '/' && chars.peek() == Some(&'/') => break,
            None => {
                if matches!(c, '"' | '`' | '\'') {
                    within = Some(c);
                }
                out.push(c);
            }
        }
    }
    out
}

/// The constructs, the most specific first: the first that matches is reported.
pub const WRITINGS: &[Writing] = &[
    Writing {
        what: "# before a comment",
        here: "// begins a comment",
        is: |line| line.rest.starts_with('#'),
    },
    Writing {
        what: "a matrix product with @",
        here: "x.matmul(y) is the matrix product",
        is: |line| line.rest.starts_with('@') && !line.before.trim().is_empty(),
    },
    Writing {
        what: "a decorator",
        here: "|x| f.call(g.call(x)) puts a function around another, no_grad(|| …) computes without a graph",
        is: |line| line.rest.starts_with('@'),
    },
    Writing {
        what: "def",
        here: "fn f(x, y) { … } is a function",
        is: |line| line.first() == "def" || line.has("async"),
    },
    Writing { what: "lambda", here: "|x| x * 2.0 is a closure", is: |line| line.has("lambda") },
    Writing {
        what: "class",
        here: "#{a: 1} is a map, and functions take it",
        is: |line| line.first() == "class",
    },
    Writing {
        what: "import of a Python module",
        here: "functions are there without one; import \"file\" as name; imports file.rhai",
        is: |line| line.first() == "from" || (line.first() == "import" && !line.code.contains('"')),
    },
    Writing { what: "elif", here: "else if n == 2 { … } goes on", is: |line| line.has("elif") },
    Writing {
        what: "except",
        here: "try { … } catch (e) { … } handles an error",
        is: |line| {
            line.first() == "except"
                || line.first() == "finally"
                || (line.first() == "try" && line.ends_with_colon())
        },
    },
    Writing {
        what: "raise",
        here: "throw \"what went wrong\";",
        is: |line| line.first() == "raise",
    },
    Writing {
        what: "assert",
        here: "if !(x > 0) { throw \"what went wrong\"; }",
        is: |line| line.first() == "assert",
    },
    Writing { what: "pass", here: "{ } is an empty block", is: |line| line.first() == "pass" },
    Writing {
        what: "del",
        here: "map.remove(\"key\") takes a key away; a variable ends with its block",
        is: |line| line.first() == "del",
    },
    Writing {
        what: "with",
        here: "there is nothing to open: hooks run with their context; no_grad(|| …) computes without a graph",
        is: |line| line.first() == "with",
    },
    Writing {
        what: "yield",
        here: "a closure gives values when it is called: f.call(x)",
        is: |line| line.has("yield"),
    },
    Writing {
        what: "global",
        here: "a closure |x| { … } sees the variables around it",
        is: |line| line.first() == "global" && line.ends_with_name(),
    },
    Writing {
        what: "an if within a value",
        here: "let y = if c { a } else { b };",
        is: |line| line.before_word("if") && line.has("else") && !line.code.contains('{'),
    },
    Writing {
        what: "not",
        here: "!x is the opposite of x; x !in list",
        is: |line| line.has("not") && line.near("not"),
    },
    Writing {
        what: "and",
        here: "a && b holds where both do (a & b of tensors)",
        is: |line| line.near("and"),
    },
    Writing {
        what: "or",
        here: "a || b holds where one does (a | b of tensors)",
        is: |line| line.near("or"),
    },
    Writing {
        what: "is",
        here: "x == () tells whether there is nothing",
        is: |line| line.near("is"),
    },
    Writing {
        what: "a list made by for",
        here: "list.map(|x| x * 2) and list.filter(|x| x > 1) make arrays of another",
        is: |line| line.near("for") && line.open().last().is_some_and(|open| *open != '{'),
    },
    Writing {
        what: "a block that : begins",
        here: "braces hold a block: for i in 0..3 { … }, if x > 1 { … }",
        is: |line| {
            line.ends_with_colon()
                && ["if", "for", "while", "else", "match"].contains(&line.first())
        },
    },
    Writing {
        what: "a slice with :",
        here: "x[1..3], x[2..] and x[..2] are ranges; of several dims x[[.., 1]]: an array, dim by dim, in which .. is a whole dim",
        is: |line| line.indexes() && (line.rest.starts_with(':') || line.within().contains(':')),
    },
    Writing {
        what: "an index for each dim",
        here: "x[[.., 1]]: one array that picks dim by dim, in which .. is a whole dim",
        is: |line| line.indexes() && line.within().contains(','),
    },
    Writing {
        what: "an ellipsis",
        here: "x[[.., .., -1]] has a .. for each whole dim; x.select(-1, 0) picks in the last",
        is: |line| {
            line.rest.starts_with("...")
                || line.before.ends_with("..") && line.rest.starts_with('.')
        },
    },
    Writing {
        what: "a text after f",
        here: "values stand in backticks: `layer ${n}`",
        is: |line| {
            let text = |mark: char| line.before.ends_with('f') && line.rest.starts_with(mark);
            text('"')
                || text('\'')
                || ["f\"", "f'", "r\"", "b\""].iter().any(|mark| line.has_text(mark))
        },
    },
    Writing {
        what: "a text in '…'",
        here: "\"…\" is a text; '…' is one character",
        is: |line| line.rest.starts_with('\'') || line.before.ends_with('\''),
    },
    Writing {
        what: "eval()",
        here: "a model runs without dropout: it needs no eval()",
        is: |line| line.rest.starts_with("eval") && line.before.ends_with('.'),
    },
    Writing {
        what: "arguments after **",
        here: "options are a last map: f(x, #{dim: 1})",
        is: |line| {
            line.rest.starts_with("(*")
                || (line.before.ends_with('*') && line.open().last() == Some(&'('))
        },
    },
    Writing {
        what: "an argument by name",
        here: "options ride in a last map: x.mean(#{dim: 1, keepdim: true}); the common one may be bare: x.mean(1)",
        is: |line| {
            let begins = |sign: &str| line.rest.starts_with(sign);
            let named = (begins("=") && !begins("=="))
                || (begins(":") && !begins("::") && line.first() != "fn");
            named && line.open().last() == Some(&'(')
        },
    },
    Writing {
        what: "a map without #",
        here: "#{a: 1, \"b c\": 2} is a map",
        is: |line| line.rest.starts_with(':') && line.open().last() == Some(&'{'),
    },
    Writing {
        what: "a type after :",
        here: "let x = 1; has no type: values have theirs",
        is: |line| line.rest.starts_with(':') && (line.first() == "let" || line.first() == "fn"),
    },
    Writing {
        what: "++",
        here: "n += 1 counts up",
        is: |line| line.rest.starts_with("++") || line.before.ends_with("++"),
    },
    Writing {
        what: "--",
        here: "n -= 1 counts down",
        is: |line| line.rest.starts_with("--") || line.before.ends_with("--"),
    },
    Writing {
        what: "print without ()",
        here: "print(x) prints",
        is: |line| line.first() == "print" && !line.code.contains('('),
    },
    Writing {
        what: "->",
        here: "fn f(x) { … } has no type to give",
        is: |line| line.rest.starts_with("->"),
    },
];

impl Line {
    /// The contents of the innermost index, before and after the location.
    fn within(&self) -> String {
        let from = self.before.rfind('[').map_or(0, |at| at + 1);
        let inside = format!("{}{}", &self.before[from..], self.rest);
        inside.split(']').next().unwrap_or_default().to_owned()
    }

    /// Whether the word is at the location or directly before it.
    fn near(&self, word: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let after: String = self.rest.chars().take_while(|c| is_word(*c)).collect();
        let last = |text: &str| {
            text.trim_end().rsplit(|c: char| !is_word(c)).next().unwrap_or_default().to_owned()
        };
        after == word || last(&self.before) == word
    }

    /// Whether the word is in the line, but not its first.
    fn before_word(&self, word: &str) -> bool {
        self.words().skip(1).any(|known| known == word)
    }

    fn ends_with_name(&self) -> bool {
        self.words().count() == 2 && !self.code.contains(':')
    }

    /// Whether a string with the prefix `mark`, such as `f"`, begins in the line.
    fn has_text(&self, mark: &str) -> bool {
        self.code
            .match_indices(mark)
            .any(|(at, _)| !self.code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
    }
}

/// The sentence for a line that does not compile, if it would in another language. `column` is where
/// the compiler stopped, from 1.
pub fn writing(text: &str, column: Option<usize>) -> Option<Error> {
    let line = Line::of(text, column);
    let writing = WRITINGS.iter().find(|writing| (writing.is)(&line))?;
    Some(error!("{} is written another way here", writing.what).help(writing.here))
}

/// Whether `//` is between two values, where Python would divide: here the rest of the line is a
/// comment.
pub fn divides(line: &str) -> bool {
    let code = without_texts(line);
    let comment =
        &line[line.char_indices().nth(code.chars().count()).map_or(line.len(), |(at, _)| at)..];
    let before = code.trim_end().ends_with(|c: char| c.is_alphanumeric() || "_)]".contains(c));
    let operand = comment.trim_start_matches('/').trim();
    let after = operand.trim_end_matches(';').trim_end_matches([')', ']']);
    before && !after.is_empty() && after.chars().all(|c| c.is_alphanumeric() || "_.".contains(c))
}
