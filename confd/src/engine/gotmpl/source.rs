//! Pure: Reads the parsed form of a Go template: which functions it calls and where, what it includes, and makes its
//! actions print as Go prints.

use gotmpl::TemplateError;
use gotmpl::parse::{
    BranchNode, CommandNode, Expr, ListNode, Node, Parser, PipeNode, Pos, SmolStr,
};

/// The function every printing action ends in. No template can spell it.
pub(super) const SHOW: &str = "\0show";
/// The function that makes text of a float and leaves everything else as it is.
pub(super) const FLOAT: &str = "\0float";

/// Line and column, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    /// The place of a byte.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let head = text.get(..offset).unwrap_or(text);
        let line_start = head.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: head.matches('\n').count() + 1,
            column: head[line_start..].chars().count() + 1,
        }
    }
}

/// One call in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) function: String,
    /// First argument, where it is written as a text.
    pub(super) argument: Option<String>,
    pub(super) place: Place,
}

/// What stands in a template.
pub(super) struct Source {
    /// The template under its name, and what it defines.
    pub(super) trees: Vec<(String, ListNode)>,
    /// In the order of the text, line by line.
    pub(super) calls: Vec<Call>,
    /// Names of included templates that are written as texts.
    pub(super) includes: Vec<String>,
    /// The first function or variable (it begins with `$`) that is not known.
    pub(super) unknown: Option<(Place, String)>,
}

/// Reads a template.
///
/// # Errors
/// It does not parse.
pub(super) fn read(
    name: &str,
    text: &str,
    known: &dyn Fn(&str) -> bool,
) -> Result<Source, TemplateError> {
    let (tree, defines) = Parser::with_name(Some(name), text, "{{", "}}")?.parse()?;
    let mut walk = Walk {
        text,
        known,
        calls: Vec::new(),
        includes: Vec::new(),
        unknown: None,
        variables: Vec::new(),
    };
    let mut trees = vec![(name.to_owned(), tree)];
    for define in defines {
        // An empty definition does not replace one with a body.
        let have = trees
            .iter()
            .any(|(name, tree)| *name == define.name.as_str() && !tree.is_empty_tree());
        if !(have && define.body.is_empty_tree()) {
            trees.push((define.name.to_string(), define.body));
        }
    }
    for (_, tree) in &mut trees {
        walk.variables = vec!["$".into()];
        walk.list(tree);
    }
    walk.calls
        .sort_by_key(|call| (call.place.line, call.place.column));
    Ok(Source {
        trees,
        calls: walk.calls,
        includes: walk.includes,
        unknown: walk.unknown,
    })
}

struct Walk<'a> {
    text: &'a str,
    known: &'a dyn Fn(&str) -> bool,
    calls: Vec<Call>,
    includes: Vec<String>,
    unknown: Option<(Place, String)>,
    /// Variables in scope, the innermost last.
    variables: Vec<SmolStr>,
}

impl Walk<'_> {
    /// What a list declares ends with it.
    fn list(&mut self, list: &mut ListNode) {
        let outside = self.variables.len();
        for node in &mut list.nodes {
            self.node(node);
        }
        self.variables.truncate(outside);
    }

    fn node(&mut self, node: &mut Node) {
        match node {
            Node::List(list) => self.list(list),
            Node::Action(action) => {
                self.pipe(&mut action.pipe);
                if action.pipe.decl.is_empty() {
                    action.pipe.commands.push(CommandNode {
                        pos: action.pos,
                        args: vec![Expr::Identifier(action.pos, SHOW.into())],
                    });
                }
            }
            Node::If(branch) | Node::Range(branch) | Node::With(branch) => self.branch(branch),
            Node::Template(template) => {
                if let Some(pipe) = &mut template.pipe {
                    self.pipe(pipe);
                }
            }
            Node::Define(define) => self.list(&mut define.body),
            Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
        }
    }

    fn branch(&mut self, branch: &mut BranchNode) {
        let outside = self.variables.len();
        self.pipe(&mut branch.pipe);
        self.list(&mut branch.body);
        if let Some(list) = &mut branch.else_body {
            self.list(list);
        }
        self.variables.truncate(outside);
    }

    fn pipe(&mut self, pipe: &mut PipeNode) {
        for command in &mut pipe.commands {
            let written = match command.args.get(1) {
                Some(Expr::String(_, text)) => Some(text.to_string()),
                _ => None,
            };
            for (at, argument) in command.args.iter_mut().enumerate() {
                // What follows a function's name is its argument; a name among arguments is a call of its own.
                let first = written.clone().filter(|_| at == 0);
                self.expression(argument, first);
            }
            print_floats(command);
        }
        if pipe.is_assign {
            for name in &pipe.decl {
                self.variable(pipe.pos, name);
            }
        } else {
            self.variables.extend(pipe.decl.iter().cloned());
        }
    }

    fn variable(&mut self, pos: Pos, name: &SmolStr) {
        if !self.variables.contains(name) {
            let place = Place::of(self.text, pos.offset);
            self.unknown.get_or_insert((place, name.to_string()));
        }
    }

    fn expression(&mut self, expression: &mut Expr, argument: Option<String>) {
        match expression {
            Expr::Identifier(pos, name) => self.call(*pos, name, argument),
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Variable(pos, name, _) => self.variable(*pos, name),
            Expr::Chain(_, inner, _) => self.expression(inner, argument),
            _ => {}
        }
    }

    fn call(&mut self, pos: Pos, name: &str, argument: Option<String>) {
        let place = Place::of(self.text, pos.offset);
        if !(self.known)(name) {
            self.unknown.get_or_insert((place, name.to_owned()));
        }
        if name == "include" {
            self.includes.extend(argument.clone());
        }
        self.calls.push(Call {
            function: name.to_owned(),
            argument,
            place,
        });
    }
}

/// Lets floats among the arguments of a printing function print as in Go: those under `%v`, or all of them.
fn print_floats(command: &mut CommandNode) {
    let Some((Expr::Identifier(_, name), arguments)) = command.args.split_first_mut() else {
        return;
    };
    match (name.as_str(), arguments) {
        ("print" | "println" | "html" | "js" | "urlquery", arguments) => {
            arguments.iter_mut().for_each(as_text_if_float);
        }
        ("printf", [Expr::String(_, format), arguments @ ..]) => {
            for (verb, argument) in verbs(format).into_iter().zip(arguments) {
                if verb == 'v' {
                    as_text_if_float(argument);
                }
            }
        }
        _ => {}
    }
}

/// The verbs of a format, one for each argument; none if it takes arguments out of order.
fn verbs(format: &str) -> Vec<char> {
    let mut verbs = Vec::new();
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            continue;
        }
        match chars.find(|char| !"+-# .0123456789".contains(*char)) {
            Some('*' | '[') => return Vec::new(),
            Some('%') | None => {}
            Some(verb) => verbs.push(verb),
        }
    }
    verbs
}

fn as_text_if_float(argument: &mut Expr) {
    let pos = argument.pos();
    // Only what is computed can be a float that was not written as one.
    if !matches!(
        argument,
        Expr::Dot(_) | Expr::Field(..) | Expr::Variable(..) | Expr::Pipe(..) | Expr::Chain(..)
    ) {
        return;
    }
    let inner = std::mem::replace(argument, Expr::Nil(pos));
    let command = |first| CommandNode {
        pos,
        args: vec![first],
    };
    let pipe = PipeNode {
        pos,
        decl: Vec::new(),
        commands: vec![command(inner), command(Expr::Identifier(pos, FLOAT.into()))],
        is_assign: false,
    };
    *argument = Expr::Pipe(pos, pipe);
}
