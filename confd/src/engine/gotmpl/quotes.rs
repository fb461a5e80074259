//! Pure: Quoting and judging of values for Go templates. Neither confd has these; the names are those of the filters for
//! Tera in Go's spelling.

use gotmpl::Value;

use super::super::quote::{self, Quote, Refusal};
use super::arguments::{Arguments, Fault, Function, function};
use super::display;
use super::functions::string;

type Result<T = Value> = std::result::Result<T, Fault>;

/// All of them.
pub(super) const FUNCTIONS: &[Function] = &[
    function("nginxQuote", 1, 1, |args| quoted(args, quote::nginx)),
    function("haproxyArg", 1, 1, |args| quoted(args, quote::haproxy)),
    function("shellQuote", 1, 1, |args| quoted(args, quote::shell)),
    function("yamlQuote", 1, 1, |args| quoted(args, quote::double)),
    function("jsonQuote", 1, 1, |args| quoted(args, quote::double)),
    function("tomlQuote", 1, 1, |args| quoted(args, quote::double)),
    function("mustPort", 1, 1, |args| quoted(args, quote::must_port)),
    function("mustIP", 1, 1, |args| quoted(args, quote::must_ip)),
    function("mustHost", 1, 1, |args| quoted(args, quote::must_host)),
    function("mustHostPort", 1, 1, |args| {
        quoted(args, quote::must_hostport)
    }),
    function("mustWord", 1, 1, |args| quoted(args, quote::must_word)),
    function("mustMatch", 2, 2, |args| {
        let text = display::inner(args.value(1));
        quote::must_match(&text, args.text(0)?)
            .map(string)
            .map_err(refused)
    }),
    function("mustInt", 1, 3, |args| {
        let bound = |at| args.get(at).map(|_| args.int(at)).transpose();
        let text = display::inner(args.value(0));
        let number = quote::must_int(&text, bound(1)?, bound(2)?).map_err(refused)?;
        Ok(Value::Int(number))
    }),
];

fn quoted(args: &Arguments<'_>, quote: Quote) -> Result {
    let text = display::inner(args.value(0));
    quote(&text).map(string).map_err(refused)
}

fn refused(refusal: Refusal) -> Fault {
    let fault = Fault::new(refusal.message);
    match refusal.hint {
        Some(hint) => fault.hinted(hint),
        None => fault,
    }
}
