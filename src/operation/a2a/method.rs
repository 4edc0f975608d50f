//! The methods of A2A: one vocabulary of actions for each version and binding (R-MCP-022).

use super::version::Version;

/// A method. What is not in the table is not forwarded.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name in version 1.0, which is the name of its action.
    pub name: &'static str,
    /// The qualified name of its action.
    pub alias: &'static str,
    /// Its name in version 0.3.
    pub older: &'static str,
    /// What it is about.
    pub subject: Subject,
}

/// What a method is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The agent itself: whoever has a valid token may ask.
    Card,
    /// A message, and the tasks that are named in it.
    Message,
    /// A task: the member that names it, in version 1.0 and in 0.3.
    Task(&'static str, &'static str),
    /// The tasks of the caller.
    Tasks,
}

const fn row(
    name: &'static str,
    alias: &'static str,
    older: &'static str,
    subject: Subject,
) -> Method {
    Method { name, alias, older, subject }
}

/// `CancelTask`
pub static CANCEL: Method =
    row("CancelTask", "a2a:CancelTask", "tasks/cancel", Subject::Task("id", "id"));
/// `CreateTaskPushNotificationConfig`
pub static CREATE_PUSH: Method = row(
    "CreateTaskPushNotificationConfig",
    "a2a:CreateTaskPushNotificationConfig",
    "tasks/pushNotificationConfig/set",
    Subject::Task("taskId", "taskId"),
);
/// `DeleteTaskPushNotificationConfig`
pub static DELETE_PUSH: Method = row(
    "DeleteTaskPushNotificationConfig",
    "a2a:DeleteTaskPushNotificationConfig",
    "tasks/pushNotificationConfig/delete",
    Subject::Task("taskId", "id"),
);
/// `GetExtendedAgentCard`
pub static CARD: Method = row(
    "GetExtendedAgentCard",
    "a2a:GetExtendedAgentCard",
    "agent/getAuthenticatedExtendedCard",
    Subject::Card,
);
/// `GetTask`
pub static GET: Method = row("GetTask", "a2a:GetTask", "tasks/get", Subject::Task("id", "id"));
/// `GetTaskPushNotificationConfig`
pub static GET_PUSH: Method = row(
    "GetTaskPushNotificationConfig",
    "a2a:GetTaskPushNotificationConfig",
    "tasks/pushNotificationConfig/get",
    Subject::Task("taskId", "id"),
);
/// `ListTaskPushNotificationConfigs`
pub static LIST_PUSHES: Method = row(
    "ListTaskPushNotificationConfigs",
    "a2a:ListTaskPushNotificationConfigs",
    "tasks/pushNotificationConfig/list",
    Subject::Task("taskId", "id"),
);
/// `ListTasks`
pub static LIST: Method = row("ListTasks", "a2a:ListTasks", "tasks/list", Subject::Tasks);
/// `SendMessage`
pub static SEND: Method = row("SendMessage", "a2a:SendMessage", "message/send", Subject::Message);
/// `SendStreamingMessage`
pub static STREAM: Method =
    row("SendStreamingMessage", "a2a:SendStreamingMessage", "message/stream", Subject::Message);
/// `SubscribeToTask`
pub static SUBSCRIBE: Method =
    row("SubscribeToTask", "a2a:SubscribeToTask", "tasks/resubscribe", Subject::Task("id", "id"));

/// All of them.
pub static ALL: [&Method; 11] = [
    &CANCEL,
    &CREATE_PUSH,
    &DELETE_PUSH,
    &CARD,
    &GET,
    &GET_PUSH,
    &LIST_PUSHES,
    &LIST,
    &SEND,
    &STREAM,
    &SUBSCRIBE,
];

impl Method {
    /// The method that `version` calls `name`.
    pub fn named(name: &str, version: Version) -> Option<&'static Self> {
        ALL.iter().copied().find(|method| method.name_in(version) == name)
    }

    /// Its name in `version`.
    pub const fn name_in(&self, version: Version) -> &'static str {
        match version {
            Version::V0_3 => self.older,
            Version::V1_0 => self.name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcp_022_each_method_has_one_action_and_a_name_in_each_version() {
        for method in ALL {
            assert_eq!(method.alias, format!("a2a:{}", method.name));
            assert_eq!(Method::named(method.name, Version::V1_0), Some(method));
            assert_eq!(Method::named(method.older, Version::V0_3), Some(method));
            assert_eq!(Method::named(method.name, Version::V0_3), None);
            assert_eq!(Method::named(method.older, Version::V1_0), None);
        }
    }
}
