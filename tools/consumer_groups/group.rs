//! What the brokers say of a group: asked of its coordinator, whichever kind of group it is.

use std::collections::BTreeMap;

use klamm::base::NodeId;
use klamm::client::assignor::decode_assignment;
use klamm::client::blocking::{Client, Topics};
use klamm::client::cluster::Endpoint;
use klamm::client::group::offsets::{self, Committed};
use klamm::client::{ClientError, PartitionName, To, Typed};
use klamm::msg;
use klamm::wire::ErrorCode;
use klamm::wire::messages::consumer_group_describe_response as modern;
use klamm::wire::messages::describe_groups_response as classic;
use klamm::wire::messages::{
    ConsumerGroupDescribeRequest, DescribeGroupsRequest, ListGroupsRequest,
};

/// A group, as far as the tool shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) state: String,
    pub(super) coordinator: (NodeId, Endpoint),
    pub(super) assignor: String,
    pub(super) members: Vec<Member>,
    /// Epochs of the group and of its target assignment, where its kind has them.
    pub(super) epochs: Option<(i32, i32)>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Member {
    pub(super) consumer_id: String,
    pub(super) instance_id: String,
    pub(super) client_id: String,
    pub(super) host: String,
    /// Sorted.
    pub(super) assigned: Vec<PartitionName>,
    /// Sorted; what it will have, where its kind of group knows.
    pub(super) target: Vec<PartitionName>,
    pub(super) epoch: Option<i32>,
    /// Whether it speaks the newer protocol, where that is a question.
    pub(super) is_upgraded: Option<bool>,
}

/// One line of a list of groups.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) state: String,
}

/// All consumer groups of all brokers, sorted; only those in `states` and of `types`, if any are given.
pub(super) fn list(
    client: &mut Client,
    states: &[&str],
    types: &[&str],
) -> Result<Vec<Listed>, ClientError> {
    let nodes: Vec<_> = client.refresh(Topics::Named(&[]))?.brokers().keys().copied().collect();
    let mut all = Vec::new();
    for node in nodes {
        let answer = client.retry(|client| {
            let words = |words: &[&str]| words.iter().map(|&w| w.into()).collect();
            let request = msg!(ListGroupsRequest {
                states_filter: words(states),
                types_filter: words(types),
            });
            let answer = client.ask(To::Node(node), Typed::new(request))?;
            ClientError::check("ListGroups", answer.error_code, None)?;
            Ok(answer)
        })?;
        let is_consumers = |kind: &str| kind == "consumer" || kind.is_empty();
        let own = answer.groups.iter().filter(|g| is_consumers(&g.protocol_type));
        all.extend(own.map(|g| Listed {
            id: g.group_id.as_str().to_owned(),
            kind: capitalized(&g.group_type),
            state: g.group_state.as_str().to_owned(),
        }));
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars
        .next()
        .map_or(String::new(), |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

/// One group.
pub(super) fn describe(client: &mut Client, id: &str) -> Result<Group, ClientError> {
    let node = client.coordinator(id)?;
    let endpoint = client.cluster().brokers().get(&node).map(|b| b.endpoint.clone());
    let endpoint = endpoint.ok_or(ClientError::UnknownNode(node))?;
    let request = msg!(ConsumerGroupDescribeRequest { group_ids: vec![id.into()] });
    let modern = match client.ask(To::Node(node), Typed::new(request)) {
        Ok(answer) => answer.groups.into_iter().next(),
        Err(ClientError::Unsupported { .. }) => None,
        Err(e) => return Err(e),
    };
    match modern.filter(|g| ErrorCode(g.error_code) == ErrorCode::NONE) {
        Some(group) => Ok(read_modern(&group, (node, endpoint))),
        None => client.retry(|client| describe_classic(client, id, (node, endpoint.clone()))),
    }
}

fn describe_classic(
    client: &mut Client,
    id: &str,
    coordinator: (NodeId, Endpoint),
) -> Result<Group, ClientError> {
    let request = msg!(DescribeGroupsRequest { groups: vec![id.into()] });
    let answer = client.ask(To::Node(coordinator.0), Typed::new(request))?;
    let group = answer.groups.into_iter().next().ok_or_else(|| ClientError::Answer {
        api: "DescribeGroups",
        what: format!("it says nothing of group {id}"),
    })?;
    ClientError::check("DescribeGroups", group.error_code, group.error_message.as_deref())?;
    read_classic(&group, coordinator)
}

fn read_classic(
    group: &classic::DescribedGroup,
    coordinator: (NodeId, Endpoint),
) -> Result<Group, ClientError> {
    let member = |m: &classic::DescribedGroupMember| {
        Ok(Member {
            consumer_id: m.member_id.as_str().to_owned(),
            instance_id: m.group_instance_id.as_ref().map_or("", |i| i.as_str()).to_owned(),
            client_id: m.client_id.as_str().to_owned(),
            host: m.client_host.as_str().to_owned(),
            assigned: decode_assignment(&m.member_assignment)?,
            ..Member::default()
        })
    };
    Ok(Group {
        id: group.group_id.as_str().to_owned(),
        state: group.group_state.as_str().to_owned(),
        coordinator,
        assignor: group.protocol_data.as_str().to_owned(),
        members: group.members.iter().map(member).collect::<Result<_, ClientError>>()?,
        epochs: None,
    })
}

fn read_modern(group: &modern::DescribedGroup, coordinator: (NodeId, Endpoint)) -> Group {
    let partitions = |assignment: &modern::Assignment| {
        let topics = assignment.topic_partitions.iter();
        let mut all: Vec<_> = topics
            .flat_map(|t| t.partitions.iter().map(|&p| PartitionName::new(&t.topic_name, p)))
            .collect();
        all.sort_unstable();
        all
    };
    let member = |m: &modern::Member| Member {
        consumer_id: m.member_id.as_str().to_owned(),
        instance_id: m.instance_id.as_ref().map_or("", |i| i.as_str()).to_owned(),
        client_id: m.client_id.as_str().to_owned(),
        host: m.client_host.as_str().to_owned(),
        assigned: partitions(&m.assignment),
        target: partitions(&m.target_assignment),
        epoch: Some(m.member_epoch),
        is_upgraded: (m.member_type >= 0).then_some(m.member_type == 1),
    };
    Group {
        id: group.group_id.as_str().to_owned(),
        state: group.group_state.as_str().to_owned(),
        coordinator,
        assignor: group.assignor_name.as_str().to_owned(),
        members: group.members.iter().map(member).collect(),
        epochs: Some((group.group_epoch, group.assignment_epoch)),
    }
}

/// All committed offsets of a group.
pub(super) fn committed(
    client: &mut Client,
    id: &str,
) -> Result<BTreeMap<PartitionName, Committed>, ClientError> {
    let node = client.coordinator(id)?;
    client.retry(|client| {
        let call = Typed::up_to(offsets::fetch(id, None), offsets::FETCH_VERSION_MAX);
        offsets::fetched(&client.ask(To::Node(node), call)?)
    })
}
