use super::*;

const FILE: &str = "\
global
  stats socket /run/admin.sock level admin
defaults
  mode http
  default-server inter 1s
# the shop
backend shop
  balance roundrobin
  server a 10.0.0.1:80 check
  server b 10.0.0.2:80 weight 10 check # the second
listen admin
  bind :9000
  server self 127.0.0.1:9001
";

/// The commands, or a part of the reason against them.
type Expected = Result<&'static [&'static str], &'static str>;

fn between(old: &str, new: &str) -> Result<Vec<String>, String> {
    let moves = moves(old, new, &BTreeMap::new())?;
    Ok(moves.iter().flat_map(Move::commands).collect())
}

#[test]
fn what_the_runtime_api_can_say_and_what_only_a_reload_does() {
    let table: &[(&str, &str, Expected)] = &[
        ("", "", Ok(&[])),
        ("# the shop\n", "\n   # another comment\n", Ok(&[])),
        (
            "10.0.0.1:80",
            "10.0.0.9:81",
            Ok(&["set server shop/a addr 10.0.0.9 port 81"]),
        ),
        (
            "weight 10",
            "weight 20",
            Ok(&["set server shop/b weight 20"]),
        ),
        ("weight 10 ", "", Ok(&["set server shop/b weight 1"])),
        (
            "  server a 10.0.0.1:80 check\n",
            "",
            Ok(&["set server shop/a state maint"]),
        ),
        (
            "listen admin",
            "  server c 10.0.0.3:80 check maxconn 5\nlisten admin",
            Ok(&[
                "add server shop/c 10.0.0.3:80 inter 1s check maxconn 5",
                "enable health shop/c",
                "enable server shop/c",
            ]),
        ),
        (
            "listen admin",
            "  server c [::1]:80\nlisten admin",
            Ok(&[
                "add server shop/c [::1]:80 inter 1s",
                "enable server shop/c",
            ]),
        ),
        // The order of servers is nothing anybody sees.
        (
            "  server a 10.0.0.1:80 check\n  server b 10.0.0.2:80 weight 10 check # the second\n",
            "  server b 10.0.0.2:80 weight 10 check\n  server a 10.0.0.1:80 check\n",
            Ok(&[]),
        ),
        ("mode http", "mode tcp", Err("more than server lines")),
        ("bind :9000", "bind :9002", Err("more than server lines")),
        (
            "backend shop",
            "backend store",
            Err("more than server lines"),
        ),
        ("inter 1s", "inter 2s", Err("more than server lines")),
        (
            "10.0.0.1:80 check",
            "10.0.0.1:80",
            Err("the words of shop/a"),
        ),
        ("10.0.0.1:80", "web.internal:80", Err("no IP address")),
        (
            "listen admin",
            "  server c 10.0.0.3:80 id 'a b'\nlisten admin",
            Err("cannot be said"),
        ),
        (
            "listen admin",
            "  server c 10.0.0.3:80 cookie a;quit\nlisten admin",
            Err("cannot be said"),
        ),
        (
            "listen admin",
            "  server c 10.0.0.3:80 disabled\nlisten admin",
            Err("is disabled"),
        ),
        (
            "listen admin",
            "  server a 10.0.0.3:80\nlisten admin",
            Err("stands there twice"),
        ),
        ("mode http", "mode \"http", Err("not closed")),
    ];
    for (from, to, expected) in table {
        let new = FILE.replacen(from, to, usize::from(!from.is_empty()));
        let result = between(FILE, &new);
        match (&result, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{from} -> {to}"),
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            _ => panic!("{from} -> {to}: {result:?}"),
        }
    }
}

const STATE: &str = "1
# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr srv_agent_port
3 shop 1 a 10.0.0.1 2 0 1 1 5 1 0 2 0 0 0 0 - 80 - 0 0 - - 0
3 shop 2 b 10.0.0.2 2 0 10 10 5 1 0 2 0 0 0 0 - 80 - 0 0 - - 0
4 admin 1 self 127.0.0.1 2 0 1 1 5 1 0 2 0 0 0 0 - 9001 - 0 0 - - 0
";

#[test]
fn what_runs_is_held_against_the_file() {
    let now = running(STATE);
    assert_eq!(now.len(), 3);
    assert!(amiss(FILE, &now).unwrap().is_empty());
    for (from, to, expected) in [
        ("10.0.0.1 2 0", "10.0.0.1 2 1", "shop/a takes no requests"),
        ("10.0.0.1", "10.0.0.7", "shop/a serves at 10.0.0.7:80"),
        ("2 0 10 10", "2 0 3 10", "shop/b has weight 3"),
        ("3 shop 2 b", "3 shop 2 c", "shop/b is missing"),
    ] {
        let amiss = amiss(FILE, &running(&STATE.replace(from, to))).unwrap();
        assert_eq!(amiss[0], expected);
    }
    let without = FILE.replace("  server a 10.0.0.1:80 check\n", "");
    assert_eq!(
        amiss(&without, &now).unwrap(),
        ["shop/a still takes requests"]
    );
    let leaving = running(&STATE.replace("10.0.0.1 2 0", "10.0.0.1 0 1"));
    assert!(amiss(&without, &leaving).unwrap().is_empty());
}

#[test]
fn a_server_that_comes_back_before_it_is_gone_is_a_reload() {
    let without = FILE.replace("  server a 10.0.0.1:80 check\n", "");
    let reason = moves(&without, FILE, &running(STATE)).unwrap_err();
    assert_eq!(reason, "shop/a was removed and is not gone yet");
}
