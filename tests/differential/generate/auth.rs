//! Steps on users, roles and permissions.

use rand::Rng as _;
use store_proto::{authpb, etcdserverpb as pb};

use super::Generator;
use crate::excuse::Series;
use crate::operation::{Act, Operation};
use crate::pair::ROOT_PASSWORD;

const USERS: [&str; 3] = ["alice", "bob", "root"];
const ROLES: [&str; 3] = ["reader", "writer", "root"];
const PASSWORDS: [&str; 2] = ["secret", "other"];
/// A bcrypt hash of "secret", as clients that hash by themselves send it (base64 of the text).
const HASHED: &str =
    "JDJhJDA0JFlCZm83S2NkbXJ2Y0lrRXlBVVRFZk9GbVdhQlcwZDFQRXVMdlBUNlhSdVZKYzM2L3FDTnkx";

impl Generator {
    /// Users that may do something, and the gate shut.
    pub(super) fn enable_auth(&mut self, operations: &mut Vec<Operation>) {
        let mut push = |act| operations.push(Operation::new(None, act));
        for (name, password) in [
            ("root", ROOT_PASSWORD),
            ("alice", PASSWORDS[0]),
            ("bob", PASSWORDS[0]),
        ] {
            push(Act::UserAdd(pb::AuthUserAddRequest {
                name: name.to_owned(),
                password: password.to_owned(),
                ..Default::default()
            }));
        }
        for role in ROLES {
            push(Act::RoleAdd(pb::AuthRoleAddRequest {
                name: role.to_owned(),
            }));
        }
        for (role, perm_type) in [("reader", 0), ("writer", 1)] {
            let permission = self.permission(role, Some(perm_type));
            push(Act::GrantPermission(permission));
        }
        for (user, role) in [("root", "root"), ("alice", "reader"), ("bob", "writer")] {
            push(Act::GrantRole(pb::AuthUserGrantRoleRequest {
                user: user.to_owned(),
                role: role.to_owned(),
            }));
        }
        push(Act::AuthEnable(pb::AuthEnableRequest {}));
        push(Act::Login {
            name: "root",
            password: ROOT_PASSWORD,
        });
        push(Act::Login {
            name: "alice",
            password: PASSWORDS[0],
        });
        push(Act::Login {
            name: "bob",
            password: PASSWORDS[0],
        });
    }

    /// A permission that was not granted before: the second time changes nothing here and counts as a change in etcd.
    fn permission(
        &mut self,
        role: &str,
        perm_type: Option<i32>,
    ) -> pb::AuthRoleGrantPermissionRequest {
        loop {
            let (key, range_end) = self.range_of_keys();
            let granted = (role.to_owned(), key.clone(), range_end.clone());
            // Of nothing: 3.4 and 3.5.1 let it pass, later ones refuse.
            let nothing =
                key.is_empty() || !(range_end.is_empty() || range_end == [0] || key < range_end);
            if nothing || self.permissions.contains(&granted) {
                continue;
            }
            self.permissions.push(granted);
            let perm_type = perm_type.unwrap_or_else(|| self.chance.random_range(0..3));
            return pb::AuthRoleGrantPermissionRequest {
                name: role.to_owned(),
                perm: Some(authpb::Permission {
                    perm_type,
                    key: key.into(),
                    range_end: range_end.into(),
                }),
            };
        }
    }

    fn user(&mut self) -> String {
        let choices = [USERS[0], USERS[0], USERS[1], USERS[1], "root", "carol", ""];
        self.pick(&choices).to_owned()
    }

    fn role(&mut self) -> String {
        let choices = [ROLES[0], ROLES[0], ROLES[1], ROLES[1], "root", "none", ""];
        self.pick(&choices).to_owned()
    }

    pub(super) fn auth(&mut self) -> Act {
        let password = self.pick(&PASSWORDS);
        match self.chance.random_range(0..100) {
            0..22 => self.login(),
            22..26 => Act::AuthStatus(pb::AuthStatusRequest {}),
            26..28 => Act::AuthEnable(pb::AuthEnableRequest {}),
            28 => Act::AuthDisable(pb::AuthDisableRequest {}),
            29..35 => Act::UserAdd(pb::AuthUserAddRequest {
                name: self.user(),
                password: if self.odds(80) { password } else { "" }.to_owned(),
                options: self
                    .odds(30)
                    .then_some(authpb::UserAddOptions { no_password: true }),
                hashed_password: if self.odds(20) { HASHED } else { "" }.to_owned(),
            }),
            35..42 => Act::UserGet(pb::AuthUserGetRequest { name: self.user() }),
            42..45 => Act::UserList(pb::AuthUserListRequest {}),
            45..48 => Act::UserDelete(pb::AuthUserDeleteRequest { name: self.user() }),
            48..53 => {
                let name = self.user();
                // Root's is known, or nobody could clear up.
                let password = if name == "root" {
                    ROOT_PASSWORD
                } else {
                    password
                };
                Act::ChangePassword(pb::AuthUserChangePasswordRequest {
                    name,
                    password: password.to_owned(),
                    hashed_password: String::new(),
                })
            }
            53..60 => Act::GrantRole(pb::AuthUserGrantRoleRequest {
                user: self.user(),
                role: self.role(),
            }),
            60..64 => Act::RevokeRole(pb::AuthUserRevokeRoleRequest {
                name: self.user(),
                role: self.role(),
            }),
            64..68 => Act::RoleAdd(pb::AuthRoleAddRequest { name: self.role() }),
            68..76 => Act::RoleGet(pb::AuthRoleGetRequest { role: self.role() }),
            76..79 => Act::RoleList(pb::AuthRoleListRequest {}),
            79..81 => Act::RoleDelete(pb::AuthRoleDeleteRequest { role: self.role() }),
            81..93 => {
                let role = self.role();
                // 3.4 ends with a crash.
                if self.series == Series::V3_5 && self.odds(4) {
                    return Act::GrantPermission(pb::AuthRoleGrantPermissionRequest {
                        name: role,
                        perm: None,
                    });
                }
                Act::GrantPermission(self.permission(&role, None))
            }
            _ => {
                let known = self.permissions.len();
                let (role, key, range_end) = if known > 0 && self.odds(70) {
                    let at = self.chance.random_range(0..known);
                    self.permissions[at].clone()
                } else {
                    let (key, range_end) = self.range_of_keys();
                    (self.role(), key, range_end)
                };
                Act::RevokePermission(pb::AuthRoleRevokePermissionRequest {
                    role,
                    key: key.into(),
                    range_end: range_end.into(),
                })
            }
        }
    }

    fn login(&mut self) -> Act {
        let name = self.pick(&["root", "root", "alice", "alice", "bob", "carol", ""]);
        let right = if name == "root" {
            ROOT_PASSWORD
        } else {
            PASSWORDS[0]
        };
        let password = if self.odds(75) {
            right
        } else {
            self.pick(&["other", "wrong", ""])
        };
        Act::Login { name, password }
    }
}
