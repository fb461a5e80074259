//! Names of instances: DNS labels, so that a layout may use them in host names unchanged.
//! Never knows what a container is; it gets the parts as text.

/// Longest DNS label (RFC 1035 2.3.4).
pub const LABEL_BYTES_MAX: usize = 63;

/// 24: with the container's 12 and the port's 24 and two dashes the label has 62 bytes.
const PART_BYTES_MAX: usize = 24;
/// What `docker ps` shows of a container id: 48 random bits.
const CONTAINER_BYTES: usize = 12;

/// The instance name `<node>-<container>-<port>`: unique because 48 bits of the container id are in
/// it, stable for as long as the container lives.
#[must_use]
pub fn instance(node: &str, container_id: &str, port_name: &str) -> String {
    let mut name = label(node, PART_BYTES_MAX);
    for part in [
        label(container_id, CONTAINER_BYTES),
        label(port_name, PART_BYTES_MAX),
    ] {
        if !name.is_empty() && !part.is_empty() {
            name.push('-');
        }
        name.push_str(&part);
    }
    name
}

/// `text` as a DNS label of at most `bytes_max` bytes: lower case, everything else than letters,
/// digits and dashes becomes a dash, no dash at either end, no two in a row.
#[must_use]
pub fn label(text: &str, bytes_max: usize) -> String {
    let mut label = String::with_capacity(text.len().min(bytes_max));
    for char in text.chars() {
        let char = char.to_ascii_lowercase();
        let safe = if char.is_ascii_lowercase() || char.is_ascii_digit() {
            char
        } else {
            '-'
        };
        if safe == '-' && (label.is_empty() || label.ends_with('-')) {
            continue;
        }
        if label.len() == bytes_max {
            break;
        }
        label.push(safe);
    }
    while label.ends_with('-') {
        label.pop();
    }
    label
}

/// Whether `text` is a DNS label as [`label`] makes them.
#[must_use]
pub fn is_label(text: &str) -> bool {
    !text.is_empty() && text.len() <= LABEL_BYTES_MAX && label(text, LABEL_BYTES_MAX) == text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parts_are_joined_and_made_safe() {
        for (node, container, port, want) in [
            (
                "node-1",
                "0123456789abcdef0123",
                "80",
                "node-1-0123456789ab-80",
            ),
            (
                "Host.Example_Org",
                "0123456789ab",
                "53-udp",
                "host-example-org-0123456789ab-53-udp",
            ),
            ("", "0123456789ab", "80", "0123456789ab-80"),
            ("--", "0123456789ab", "", "0123456789ab"),
            (
                "a-very-long-name-of-a-node-in-a-rack",
                "0123456789ab",
                "80",
                "a-very-long-name-of-a-no-0123456789ab-80",
            ),
        ] {
            assert_eq!(instance(node, container, port), want);
        }
    }

    proptest! {
        #[test]
        fn always_a_label(node in "\\PC{0,80}", container in "[0-9a-f]{12,64}", port in "\\PC{0,40}") {
            prop_assert!(is_label(&instance(&node, &container, &port)));
        }
    }
}
