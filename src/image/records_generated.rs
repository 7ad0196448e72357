// Written by flatc from records.fbs with checksum 431ac11ae75b34b9.

// @generated

use core::cmp::Ordering;
use core::mem;

extern crate flatbuffers;
use self::flatbuffers::{EndianScalar, Follow};

#[allow(unused_imports, dead_code)]
pub mod schema {

    use core::cmp::Ordering;
    use core::mem;

    extern crate flatbuffers;
    use self::flatbuffers::{EndianScalar, Follow};

    #[deprecated(
        since = "2.0.0",
        note = "Use associated constants instead. This will no longer be generated in 2021."
    )]
    pub const ENUM_MIN_BODY: u8 = 0;
    #[deprecated(
        since = "2.0.0",
        note = "Use associated constants instead. This will no longer be generated in 2021."
    )]
    pub const ENUM_MAX_BODY: u8 = 7;
    #[deprecated(
        since = "2.0.0",
        note = "Use associated constants instead. This will no longer be generated in 2021."
    )]
    #[allow(non_camel_case_types)]
    pub const ENUM_VALUES_BODY: [Body; 8] = [
        Body::NONE,
        Body::Cluster,
        Body::Node,
        Body::Topic,
        Body::Partition,
        Body::RemoveTopic,
        Body::Config,
        Body::ProducerIds,
    ];

    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
    #[repr(transparent)]
    pub struct Body(pub u8);
    #[allow(non_upper_case_globals)]
    impl Body {
        pub const NONE: Self = Self(0);
        pub const Cluster: Self = Self(1);
        pub const Node: Self = Self(2);
        pub const Topic: Self = Self(3);
        pub const Partition: Self = Self(4);
        pub const RemoveTopic: Self = Self(5);
        pub const Config: Self = Self(6);
        pub const ProducerIds: Self = Self(7);

        pub const ENUM_MIN: u8 = 0;
        pub const ENUM_MAX: u8 = 7;
        pub const ENUM_VALUES: &'static [Self] = &[
            Self::NONE,
            Self::Cluster,
            Self::Node,
            Self::Topic,
            Self::Partition,
            Self::RemoveTopic,
            Self::Config,
            Self::ProducerIds,
        ];
        /// Returns the variant's name or "" if unknown.
        pub fn variant_name(self) -> Option<&'static str> {
            match self {
                Self::NONE => Some("NONE"),
                Self::Cluster => Some("Cluster"),
                Self::Node => Some("Node"),
                Self::Topic => Some("Topic"),
                Self::Partition => Some("Partition"),
                Self::RemoveTopic => Some("RemoveTopic"),
                Self::Config => Some("Config"),
                Self::ProducerIds => Some("ProducerIds"),
                _ => None,
            }
        }
    }
    impl core::fmt::Debug for Body {
        fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
            if let Some(name) = self.variant_name() {
                f.write_str(name)
            } else {
                f.write_fmt(format_args!("<UNKNOWN {:?}>", self.0))
            }
        }
    }
    impl<'a> flatbuffers::Follow<'a> for Body {
        type Inner = Self;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            let b = flatbuffers::read_scalar_at::<u8>(buf, loc);
            Self(b)
        }
    }

    impl flatbuffers::Push for Body {
        type Output = Body;
        #[inline]
        unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
            flatbuffers::emplace_scalar::<u8>(dst, self.0);
        }
    }

    impl flatbuffers::EndianScalar for Body {
        type Scalar = u8;
        #[inline]
        fn to_little_endian(self) -> u8 {
            self.0.to_le()
        }
        #[inline]
        #[allow(clippy::wrong_self_convention)]
        fn from_little_endian(v: u8) -> Self {
            let b = u8::from_le(v);
            Self(b)
        }
    }

    impl<'a> flatbuffers::Verifiable for Body {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            u8::run_verifier(v, pos)
        }
    }

    impl flatbuffers::SimpleToVerifyInSlice for Body {}
    pub struct BodyUnionTableOffset {}

    /// The two halves of a topic id, as big-endian numbers.
    // struct Id, aligned to 8
    #[repr(transparent)]
    #[derive(Clone, Copy, PartialEq)]
    pub struct Id(pub [u8; 16]);
    impl Default for Id {
        fn default() -> Self {
            Self([0; 16])
        }
    }
    impl core::fmt::Debug for Id {
        fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
            f.debug_struct("Id").field("high", &self.high()).field("low", &self.low()).finish()
        }
    }

    impl flatbuffers::SimpleToVerifyInSlice for Id {}
    impl<'a> flatbuffers::Follow<'a> for Id {
        type Inner = &'a Id;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            <&'a Id>::follow(buf, loc)
        }
    }
    impl<'a> flatbuffers::Follow<'a> for &'a Id {
        type Inner = &'a Id;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            flatbuffers::follow_cast_ref::<Id>(buf, loc)
        }
    }
    impl<'b> flatbuffers::Push for Id {
        type Output = Id;
        #[inline]
        unsafe fn push(&self, dst: &mut [u8], _written_len: usize) {
            let src = ::core::slice::from_raw_parts(self as *const Id as *const u8, Self::size());
            dst.copy_from_slice(src);
        }
    }

    impl<'a> flatbuffers::Verifiable for Id {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.in_buffer::<Self>(pos)
        }
    }

    impl<'a> Id {
        #[allow(clippy::too_many_arguments)]
        pub fn new(high: u64, low: u64) -> Self {
            let mut s = Self([0; 16]);
            s.set_high(high);
            s.set_low(low);
            s
        }

        pub fn high(&self) -> u64 {
            let mut mem = core::mem::MaybeUninit::<<u64 as EndianScalar>::Scalar>::uninit();
            // Safety:
            // Created from a valid Table for this object
            // Which contains a valid value in this slot
            EndianScalar::from_little_endian(unsafe {
                core::ptr::copy_nonoverlapping(
                    self.0[0..].as_ptr(),
                    mem.as_mut_ptr() as *mut u8,
                    core::mem::size_of::<<u64 as EndianScalar>::Scalar>(),
                );
                mem.assume_init()
            })
        }

        pub fn set_high(&mut self, x: u64) {
            let x_le = x.to_little_endian();
            // Safety:
            // Created from a valid Table for this object
            // Which contains a valid value in this slot
            unsafe {
                core::ptr::copy_nonoverlapping(
                    &x_le as *const _ as *const u8,
                    self.0[0..].as_mut_ptr(),
                    core::mem::size_of::<<u64 as EndianScalar>::Scalar>(),
                );
            }
        }

        pub fn low(&self) -> u64 {
            let mut mem = core::mem::MaybeUninit::<<u64 as EndianScalar>::Scalar>::uninit();
            // Safety:
            // Created from a valid Table for this object
            // Which contains a valid value in this slot
            EndianScalar::from_little_endian(unsafe {
                core::ptr::copy_nonoverlapping(
                    self.0[8..].as_ptr(),
                    mem.as_mut_ptr() as *mut u8,
                    core::mem::size_of::<<u64 as EndianScalar>::Scalar>(),
                );
                mem.assume_init()
            })
        }

        pub fn set_low(&mut self, x: u64) {
            let x_le = x.to_little_endian();
            // Safety:
            // Created from a valid Table for this object
            // Which contains a valid value in this slot
            unsafe {
                core::ptr::copy_nonoverlapping(
                    &x_le as *const _ as *const u8,
                    self.0[8..].as_mut_ptr(),
                    core::mem::size_of::<<u64 as EndianScalar>::Scalar>(),
                );
            }
        }
    }

    pub enum ClusterOffset {}
    #[derive(Copy, Clone, PartialEq)]

    /// The cluster's name for itself; the first record of all.
    pub struct Cluster<'a> {
        pub _tab: flatbuffers::Table<'a>,
    }

    impl<'a> flatbuffers::Follow<'a> for Cluster<'a> {
        type Inner = Cluster<'a>;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            Self { _tab: flatbuffers::Table::new(buf, loc) }
        }
    }

    impl<'a> Cluster<'a> {
        pub const VT_ID: flatbuffers::VOffsetT = 4;

        #[inline]
        pub unsafe fn init_from_table(table: flatbuffers::Table<'a>) -> Self {
            Cluster { _tab: table }
        }
        #[allow(unused_mut)]
        pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr>(
            _fbb: &'mut_bldr mut flatbuffers::FlatBufferBuilder<'bldr>,
            args: &'args ClusterArgs<'args>,
        ) -> flatbuffers::WIPOffset<Cluster<'bldr>> {
            let mut builder = ClusterBuilder::new(_fbb);
            if let Some(x) = args.id {
                builder.add_id(x);
            }
            builder.finish()
        }

        #[inline]
        pub fn id(&self) -> &'a str {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe {
                self._tab.get::<flatbuffers::ForwardsUOffset<&str>>(Cluster::VT_ID, None).unwrap()
            }
        }
    }

    impl flatbuffers::Verifiable for Cluster<'_> {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.visit_table(pos)?
                .visit_field::<flatbuffers::ForwardsUOffset<&str>>("id", Self::VT_ID, true)?
                .finish();
            Ok(())
        }
    }
    pub struct ClusterArgs<'a> {
        pub id: Option<flatbuffers::WIPOffset<&'a str>>,
    }
    impl<'a> Default for ClusterArgs<'a> {
        #[inline]
        fn default() -> Self {
            ClusterArgs {
      id: None, // required field
    }
        }
    }

    pub struct ClusterBuilder<'a: 'b, 'b> {
        fbb_: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        start_: flatbuffers::WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
    }
    impl<'a: 'b, 'b> ClusterBuilder<'a, 'b> {
        #[inline]
        pub fn add_id(&mut self, id: flatbuffers::WIPOffset<&'b str>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Cluster::VT_ID, id);
        }
        #[inline]
        pub fn new(_fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>) -> ClusterBuilder<'a, 'b> {
            let start = _fbb.start_table();
            ClusterBuilder { fbb_: _fbb, start_: start }
        }
        #[inline]
        pub fn finish(self) -> flatbuffers::WIPOffset<Cluster<'a>> {
            let o = self.fbb_.end_table(self.start_);
            self.fbb_.required(o, Cluster::VT_ID, "id");
            flatbuffers::WIPOffset::new(o.value())
        }
    }

    impl core::fmt::Debug for Cluster<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut ds = f.debug_struct("Cluster");
            ds.field("id", &self.id());
            ds.finish()
        }
    }
    pub enum NodeOffset {}
    #[derive(Copy, Clone, PartialEq)]

    /// A node and where it is reached.
    pub struct Node<'a> {
        pub _tab: flatbuffers::Table<'a>,
    }

    impl<'a> flatbuffers::Follow<'a> for Node<'a> {
        type Inner = Node<'a>;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            Self { _tab: flatbuffers::Table::new(buf, loc) }
        }
    }

    impl<'a> Node<'a> {
        pub const VT_ID: flatbuffers::VOffsetT = 4;
        pub const VT_HOST: flatbuffers::VOffsetT = 6;
        pub const VT_PORT: flatbuffers::VOffsetT = 8;
        pub const VT_RACK: flatbuffers::VOffsetT = 10;

        #[inline]
        pub unsafe fn init_from_table(table: flatbuffers::Table<'a>) -> Self {
            Node { _tab: table }
        }
        #[allow(unused_mut)]
        pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr>(
            _fbb: &'mut_bldr mut flatbuffers::FlatBufferBuilder<'bldr>,
            args: &'args NodeArgs<'args>,
        ) -> flatbuffers::WIPOffset<Node<'bldr>> {
            let mut builder = NodeBuilder::new(_fbb);
            if let Some(x) = args.rack {
                builder.add_rack(x);
            }
            if let Some(x) = args.host {
                builder.add_host(x);
            }
            builder.add_id(args.id);
            builder.add_port(args.port);
            builder.finish()
        }

        #[inline]
        pub fn id(&self) -> i32 {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<i32>(Node::VT_ID, Some(0)).unwrap() }
        }
        #[inline]
        pub fn host(&self) -> &'a str {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe {
                self._tab.get::<flatbuffers::ForwardsUOffset<&str>>(Node::VT_HOST, None).unwrap()
            }
        }
        #[inline]
        pub fn port(&self) -> u16 {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<u16>(Node::VT_PORT, Some(0)).unwrap() }
        }
        #[inline]
        pub fn rack(&self) -> Option<&'a str> {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<flatbuffers::ForwardsUOffset<&str>>(Node::VT_RACK, None) }
        }
    }

    impl flatbuffers::Verifiable for Node<'_> {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.visit_table(pos)?
                .visit_field::<i32>("id", Self::VT_ID, false)?
                .visit_field::<flatbuffers::ForwardsUOffset<&str>>("host", Self::VT_HOST, true)?
                .visit_field::<u16>("port", Self::VT_PORT, false)?
                .visit_field::<flatbuffers::ForwardsUOffset<&str>>("rack", Self::VT_RACK, false)?
                .finish();
            Ok(())
        }
    }
    pub struct NodeArgs<'a> {
        pub id: i32,
        pub host: Option<flatbuffers::WIPOffset<&'a str>>,
        pub port: u16,
        pub rack: Option<flatbuffers::WIPOffset<&'a str>>,
    }
    impl<'a> Default for NodeArgs<'a> {
        #[inline]
        fn default() -> Self {
            NodeArgs {
                id: 0,
                host: None, // required field
                port: 0,
                rack: None,
            }
        }
    }

    pub struct NodeBuilder<'a: 'b, 'b> {
        fbb_: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        start_: flatbuffers::WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
    }
    impl<'a: 'b, 'b> NodeBuilder<'a, 'b> {
        #[inline]
        pub fn add_id(&mut self, id: i32) {
            self.fbb_.push_slot::<i32>(Node::VT_ID, id, 0);
        }
        #[inline]
        pub fn add_host(&mut self, host: flatbuffers::WIPOffset<&'b str>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Node::VT_HOST, host);
        }
        #[inline]
        pub fn add_port(&mut self, port: u16) {
            self.fbb_.push_slot::<u16>(Node::VT_PORT, port, 0);
        }
        #[inline]
        pub fn add_rack(&mut self, rack: flatbuffers::WIPOffset<&'b str>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Node::VT_RACK, rack);
        }
        #[inline]
        pub fn new(_fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>) -> NodeBuilder<'a, 'b> {
            let start = _fbb.start_table();
            NodeBuilder { fbb_: _fbb, start_: start }
        }
        #[inline]
        pub fn finish(self) -> flatbuffers::WIPOffset<Node<'a>> {
            let o = self.fbb_.end_table(self.start_);
            self.fbb_.required(o, Node::VT_HOST, "host");
            flatbuffers::WIPOffset::new(o.value())
        }
    }

    impl core::fmt::Debug for Node<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut ds = f.debug_struct("Node");
            ds.field("id", &self.id());
            ds.field("host", &self.host());
            ds.field("port", &self.port());
            ds.field("rack", &self.rack());
            ds.finish()
        }
    }
    pub enum TopicOffset {}
    #[derive(Copy, Clone, PartialEq)]

    /// A topic that exists from here on, without partitions.
    pub struct Topic<'a> {
        pub _tab: flatbuffers::Table<'a>,
    }

    impl<'a> flatbuffers::Follow<'a> for Topic<'a> {
        type Inner = Topic<'a>;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            Self { _tab: flatbuffers::Table::new(buf, loc) }
        }
    }

    impl<'a> Topic<'a> {
        pub const VT_ID: flatbuffers::VOffsetT = 4;
        pub const VT_NAME: flatbuffers::VOffsetT = 6;

        #[inline]
        pub unsafe fn init_from_table(table: flatbuffers::Table<'a>) -> Self {
            Topic { _tab: table }
        }
        #[allow(unused_mut)]
        pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr>(
            _fbb: &'mut_bldr mut flatbuffers::FlatBufferBuilder<'bldr>,
            args: &'args TopicArgs<'args>,
        ) -> flatbuffers::WIPOffset<Topic<'bldr>> {
            let mut builder = TopicBuilder::new(_fbb);
            if let Some(x) = args.name {
                builder.add_name(x);
            }
            if let Some(x) = args.id {
                builder.add_id(x);
            }
            builder.finish()
        }

        #[inline]
        pub fn id(&self) -> &'a Id {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<Id>(Topic::VT_ID, None).unwrap() }
        }
        #[inline]
        pub fn name(&self) -> &'a str {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe {
                self._tab.get::<flatbuffers::ForwardsUOffset<&str>>(Topic::VT_NAME, None).unwrap()
            }
        }
    }

    impl flatbuffers::Verifiable for Topic<'_> {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.visit_table(pos)?
                .visit_field::<Id>("id", Self::VT_ID, true)?
                .visit_field::<flatbuffers::ForwardsUOffset<&str>>("name", Self::VT_NAME, true)?
                .finish();
            Ok(())
        }
    }
    pub struct TopicArgs<'a> {
        pub id: Option<&'a Id>,
        pub name: Option<flatbuffers::WIPOffset<&'a str>>,
    }
    impl<'a> Default for TopicArgs<'a> {
        #[inline]
        fn default() -> Self {
            TopicArgs {
                id: None,   // required field
                name: None, // required field
            }
        }
    }

    pub struct TopicBuilder<'a: 'b, 'b> {
        fbb_: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        start_: flatbuffers::WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
    }
    impl<'a: 'b, 'b> TopicBuilder<'a, 'b> {
        #[inline]
        pub fn add_id(&mut self, id: &Id) {
            self.fbb_.push_slot_always::<&Id>(Topic::VT_ID, id);
        }
        #[inline]
        pub fn add_name(&mut self, name: flatbuffers::WIPOffset<&'b str>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Topic::VT_NAME, name);
        }
        #[inline]
        pub fn new(_fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>) -> TopicBuilder<'a, 'b> {
            let start = _fbb.start_table();
            TopicBuilder { fbb_: _fbb, start_: start }
        }
        #[inline]
        pub fn finish(self) -> flatbuffers::WIPOffset<Topic<'a>> {
            let o = self.fbb_.end_table(self.start_);
            self.fbb_.required(o, Topic::VT_ID, "id");
            self.fbb_.required(o, Topic::VT_NAME, "name");
            flatbuffers::WIPOffset::new(o.value())
        }
    }

    impl core::fmt::Debug for Topic<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut ds = f.debug_struct("Topic");
            ds.field("id", &self.id());
            ds.field("name", &self.name());
            ds.finish()
        }
    }
    pub enum PartitionOffset {}
    #[derive(Copy, Clone, PartialEq)]

    /// The state of one partition; the next index after the last one makes a partition.
    pub struct Partition<'a> {
        pub _tab: flatbuffers::Table<'a>,
    }

    impl<'a> flatbuffers::Follow<'a> for Partition<'a> {
        type Inner = Partition<'a>;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            Self { _tab: flatbuffers::Table::new(buf, loc) }
        }
    }

    impl<'a> Partition<'a> {
        pub const VT_TOPIC: flatbuffers::VOffsetT = 4;
        pub const VT_INDEX: flatbuffers::VOffsetT = 6;
        pub const VT_LEADER: flatbuffers::VOffsetT = 8;
        pub const VT_LEADER_EPOCH: flatbuffers::VOffsetT = 10;
        pub const VT_REPLICAS: flatbuffers::VOffsetT = 12;
        pub const VT_ISR: flatbuffers::VOffsetT = 14;
        pub const VT_PARTITION_EPOCH: flatbuffers::VOffsetT = 16;

        #[inline]
        pub unsafe fn init_from_table(table: flatbuffers::Table<'a>) -> Self {
            Partition { _tab: table }
        }
        #[allow(unused_mut)]
        pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr>(
            _fbb: &'mut_bldr mut flatbuffers::FlatBufferBuilder<'bldr>,
            args: &'args PartitionArgs<'args>,
        ) -> flatbuffers::WIPOffset<Partition<'bldr>> {
            let mut builder = PartitionBuilder::new(_fbb);
            builder.add_partition_epoch(args.partition_epoch);
            if let Some(x) = args.isr {
                builder.add_isr(x);
            }
            if let Some(x) = args.replicas {
                builder.add_replicas(x);
            }
            builder.add_leader_epoch(args.leader_epoch);
            builder.add_leader(args.leader);
            builder.add_index(args.index);
            if let Some(x) = args.topic {
                builder.add_topic(x);
            }
            builder.finish()
        }

        #[inline]
        pub fn topic(&self) -> &'a Id {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<Id>(Partition::VT_TOPIC, None).unwrap() }
        }
        #[inline]
        pub fn index(&self) -> i32 {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<i32>(Partition::VT_INDEX, Some(0)).unwrap() }
        }
        #[inline]
        pub fn leader(&self) -> i32 {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<i32>(Partition::VT_LEADER, Some(0)).unwrap() }
        }
        #[inline]
        pub fn leader_epoch(&self) -> i32 {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<i32>(Partition::VT_LEADER_EPOCH, Some(0)).unwrap() }
        }
        #[inline]
        pub fn replicas(&self) -> flatbuffers::Vector<'a, i32> {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe {
                self._tab
                    .get::<flatbuffers::ForwardsUOffset<flatbuffers::Vector<'a, i32>>>(
                        Partition::VT_REPLICAS,
                        None,
                    )
                    .unwrap()
            }
        }
        #[inline]
        pub fn isr(&self) -> flatbuffers::Vector<'a, i32> {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe {
                self._tab
                    .get::<flatbuffers::ForwardsUOffset<flatbuffers::Vector<'a, i32>>>(
                        Partition::VT_ISR,
                        None,
                    )
                    .unwrap()
            }
        }
        #[inline]
        pub fn partition_epoch(&self) -> i32 {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<i32>(Partition::VT_PARTITION_EPOCH, Some(0)).unwrap() }
        }
    }

    impl flatbuffers::Verifiable for Partition<'_> {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.visit_table(pos)?
                .visit_field::<Id>("topic", Self::VT_TOPIC, true)?
                .visit_field::<i32>("index", Self::VT_INDEX, false)?
                .visit_field::<i32>("leader", Self::VT_LEADER, false)?
                .visit_field::<i32>("leader_epoch", Self::VT_LEADER_EPOCH, false)?
                .visit_field::<flatbuffers::ForwardsUOffset<flatbuffers::Vector<'_, i32>>>(
                    "replicas",
                    Self::VT_REPLICAS,
                    true,
                )?
                .visit_field::<flatbuffers::ForwardsUOffset<flatbuffers::Vector<'_, i32>>>(
                    "isr",
                    Self::VT_ISR,
                    true,
                )?
                .visit_field::<i32>("partition_epoch", Self::VT_PARTITION_EPOCH, false)?
                .finish();
            Ok(())
        }
    }
    pub struct PartitionArgs<'a> {
        pub topic: Option<&'a Id>,
        pub index: i32,
        pub leader: i32,
        pub leader_epoch: i32,
        pub replicas: Option<flatbuffers::WIPOffset<flatbuffers::Vector<'a, i32>>>,
        pub isr: Option<flatbuffers::WIPOffset<flatbuffers::Vector<'a, i32>>>,
        pub partition_epoch: i32,
    }
    impl<'a> Default for PartitionArgs<'a> {
        #[inline]
        fn default() -> Self {
            PartitionArgs {
                topic: None, // required field
                index: 0,
                leader: 0,
                leader_epoch: 0,
                replicas: None, // required field
                isr: None,      // required field
                partition_epoch: 0,
            }
        }
    }

    pub struct PartitionBuilder<'a: 'b, 'b> {
        fbb_: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        start_: flatbuffers::WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
    }
    impl<'a: 'b, 'b> PartitionBuilder<'a, 'b> {
        #[inline]
        pub fn add_topic(&mut self, topic: &Id) {
            self.fbb_.push_slot_always::<&Id>(Partition::VT_TOPIC, topic);
        }
        #[inline]
        pub fn add_index(&mut self, index: i32) {
            self.fbb_.push_slot::<i32>(Partition::VT_INDEX, index, 0);
        }
        #[inline]
        pub fn add_leader(&mut self, leader: i32) {
            self.fbb_.push_slot::<i32>(Partition::VT_LEADER, leader, 0);
        }
        #[inline]
        pub fn add_leader_epoch(&mut self, leader_epoch: i32) {
            self.fbb_.push_slot::<i32>(Partition::VT_LEADER_EPOCH, leader_epoch, 0);
        }
        #[inline]
        pub fn add_replicas(
            &mut self,
            replicas: flatbuffers::WIPOffset<flatbuffers::Vector<'b, i32>>,
        ) {
            self.fbb_
                .push_slot_always::<flatbuffers::WIPOffset<_>>(Partition::VT_REPLICAS, replicas);
        }
        #[inline]
        pub fn add_isr(&mut self, isr: flatbuffers::WIPOffset<flatbuffers::Vector<'b, i32>>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Partition::VT_ISR, isr);
        }
        #[inline]
        pub fn add_partition_epoch(&mut self, partition_epoch: i32) {
            self.fbb_.push_slot::<i32>(Partition::VT_PARTITION_EPOCH, partition_epoch, 0);
        }
        #[inline]
        pub fn new(_fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>) -> PartitionBuilder<'a, 'b> {
            let start = _fbb.start_table();
            PartitionBuilder { fbb_: _fbb, start_: start }
        }
        #[inline]
        pub fn finish(self) -> flatbuffers::WIPOffset<Partition<'a>> {
            let o = self.fbb_.end_table(self.start_);
            self.fbb_.required(o, Partition::VT_TOPIC, "topic");
            self.fbb_.required(o, Partition::VT_REPLICAS, "replicas");
            self.fbb_.required(o, Partition::VT_ISR, "isr");
            flatbuffers::WIPOffset::new(o.value())
        }
    }

    impl core::fmt::Debug for Partition<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut ds = f.debug_struct("Partition");
            ds.field("topic", &self.topic());
            ds.field("index", &self.index());
            ds.field("leader", &self.leader());
            ds.field("leader_epoch", &self.leader_epoch());
            ds.field("replicas", &self.replicas());
            ds.field("isr", &self.isr());
            ds.field("partition_epoch", &self.partition_epoch());
            ds.finish()
        }
    }
    pub enum RemoveTopicOffset {}
    #[derive(Copy, Clone, PartialEq)]

    /// A topic that is gone, with its partitions and settings.
    pub struct RemoveTopic<'a> {
        pub _tab: flatbuffers::Table<'a>,
    }

    impl<'a> flatbuffers::Follow<'a> for RemoveTopic<'a> {
        type Inner = RemoveTopic<'a>;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            Self { _tab: flatbuffers::Table::new(buf, loc) }
        }
    }

    impl<'a> RemoveTopic<'a> {
        pub const VT_ID: flatbuffers::VOffsetT = 4;

        #[inline]
        pub unsafe fn init_from_table(table: flatbuffers::Table<'a>) -> Self {
            RemoveTopic { _tab: table }
        }
        #[allow(unused_mut)]
        pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr>(
            _fbb: &'mut_bldr mut flatbuffers::FlatBufferBuilder<'bldr>,
            args: &'args RemoveTopicArgs<'args>,
        ) -> flatbuffers::WIPOffset<RemoveTopic<'bldr>> {
            let mut builder = RemoveTopicBuilder::new(_fbb);
            if let Some(x) = args.id {
                builder.add_id(x);
            }
            builder.finish()
        }

        #[inline]
        pub fn id(&self) -> &'a Id {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<Id>(RemoveTopic::VT_ID, None).unwrap() }
        }
    }

    impl flatbuffers::Verifiable for RemoveTopic<'_> {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.visit_table(pos)?.visit_field::<Id>("id", Self::VT_ID, true)?.finish();
            Ok(())
        }
    }
    pub struct RemoveTopicArgs<'a> {
        pub id: Option<&'a Id>,
    }
    impl<'a> Default for RemoveTopicArgs<'a> {
        #[inline]
        fn default() -> Self {
            RemoveTopicArgs {
      id: None, // required field
    }
        }
    }

    pub struct RemoveTopicBuilder<'a: 'b, 'b> {
        fbb_: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        start_: flatbuffers::WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
    }
    impl<'a: 'b, 'b> RemoveTopicBuilder<'a, 'b> {
        #[inline]
        pub fn add_id(&mut self, id: &Id) {
            self.fbb_.push_slot_always::<&Id>(RemoveTopic::VT_ID, id);
        }
        #[inline]
        pub fn new(_fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>) -> RemoveTopicBuilder<'a, 'b> {
            let start = _fbb.start_table();
            RemoveTopicBuilder { fbb_: _fbb, start_: start }
        }
        #[inline]
        pub fn finish(self) -> flatbuffers::WIPOffset<RemoveTopic<'a>> {
            let o = self.fbb_.end_table(self.start_);
            self.fbb_.required(o, RemoveTopic::VT_ID, "id");
            flatbuffers::WIPOffset::new(o.value())
        }
    }

    impl core::fmt::Debug for RemoveTopic<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut ds = f.debug_struct("RemoveTopic");
            ds.field("id", &self.id());
            ds.finish()
        }
    }
    pub enum ConfigOffset {}
    #[derive(Copy, Clone, PartialEq)]

    /// One setting of a resource; without a value it is taken away.
    pub struct Config<'a> {
        pub _tab: flatbuffers::Table<'a>,
    }

    impl<'a> flatbuffers::Follow<'a> for Config<'a> {
        type Inner = Config<'a>;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            Self { _tab: flatbuffers::Table::new(buf, loc) }
        }
    }

    impl<'a> Config<'a> {
        pub const VT_LEVEL: flatbuffers::VOffsetT = 4;
        pub const VT_RESOURCE: flatbuffers::VOffsetT = 6;
        pub const VT_NAME: flatbuffers::VOffsetT = 8;
        pub const VT_VALUE: flatbuffers::VOffsetT = 10;

        #[inline]
        pub unsafe fn init_from_table(table: flatbuffers::Table<'a>) -> Self {
            Config { _tab: table }
        }
        #[allow(unused_mut)]
        pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr>(
            _fbb: &'mut_bldr mut flatbuffers::FlatBufferBuilder<'bldr>,
            args: &'args ConfigArgs<'args>,
        ) -> flatbuffers::WIPOffset<Config<'bldr>> {
            let mut builder = ConfigBuilder::new(_fbb);
            if let Some(x) = args.value {
                builder.add_value(x);
            }
            if let Some(x) = args.name {
                builder.add_name(x);
            }
            if let Some(x) = args.resource {
                builder.add_resource(x);
            }
            builder.add_level(args.level);
            builder.finish()
        }

        #[inline]
        pub fn level(&self) -> u8 {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<u8>(Config::VT_LEVEL, Some(0)).unwrap() }
        }
        #[inline]
        pub fn resource(&self) -> &'a str {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe {
                self._tab
                    .get::<flatbuffers::ForwardsUOffset<&str>>(Config::VT_RESOURCE, None)
                    .unwrap()
            }
        }
        #[inline]
        pub fn name(&self) -> &'a str {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe {
                self._tab.get::<flatbuffers::ForwardsUOffset<&str>>(Config::VT_NAME, None).unwrap()
            }
        }
        #[inline]
        pub fn value(&self) -> Option<&'a str> {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<flatbuffers::ForwardsUOffset<&str>>(Config::VT_VALUE, None) }
        }
    }

    impl flatbuffers::Verifiable for Config<'_> {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.visit_table(pos)?
                .visit_field::<u8>("level", Self::VT_LEVEL, false)?
                .visit_field::<flatbuffers::ForwardsUOffset<&str>>(
                    "resource",
                    Self::VT_RESOURCE,
                    true,
                )?
                .visit_field::<flatbuffers::ForwardsUOffset<&str>>("name", Self::VT_NAME, true)?
                .visit_field::<flatbuffers::ForwardsUOffset<&str>>("value", Self::VT_VALUE, false)?
                .finish();
            Ok(())
        }
    }
    pub struct ConfigArgs<'a> {
        pub level: u8,
        pub resource: Option<flatbuffers::WIPOffset<&'a str>>,
        pub name: Option<flatbuffers::WIPOffset<&'a str>>,
        pub value: Option<flatbuffers::WIPOffset<&'a str>>,
    }
    impl<'a> Default for ConfigArgs<'a> {
        #[inline]
        fn default() -> Self {
            ConfigArgs {
                level: 0,
                resource: None, // required field
                name: None,     // required field
                value: None,
            }
        }
    }

    pub struct ConfigBuilder<'a: 'b, 'b> {
        fbb_: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        start_: flatbuffers::WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
    }
    impl<'a: 'b, 'b> ConfigBuilder<'a, 'b> {
        #[inline]
        pub fn add_level(&mut self, level: u8) {
            self.fbb_.push_slot::<u8>(Config::VT_LEVEL, level, 0);
        }
        #[inline]
        pub fn add_resource(&mut self, resource: flatbuffers::WIPOffset<&'b str>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Config::VT_RESOURCE, resource);
        }
        #[inline]
        pub fn add_name(&mut self, name: flatbuffers::WIPOffset<&'b str>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Config::VT_NAME, name);
        }
        #[inline]
        pub fn add_value(&mut self, value: flatbuffers::WIPOffset<&'b str>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Config::VT_VALUE, value);
        }
        #[inline]
        pub fn new(_fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>) -> ConfigBuilder<'a, 'b> {
            let start = _fbb.start_table();
            ConfigBuilder { fbb_: _fbb, start_: start }
        }
        #[inline]
        pub fn finish(self) -> flatbuffers::WIPOffset<Config<'a>> {
            let o = self.fbb_.end_table(self.start_);
            self.fbb_.required(o, Config::VT_RESOURCE, "resource");
            self.fbb_.required(o, Config::VT_NAME, "name");
            flatbuffers::WIPOffset::new(o.value())
        }
    }

    impl core::fmt::Debug for Config<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut ds = f.debug_struct("Config");
            ds.field("level", &self.level());
            ds.field("resource", &self.resource());
            ds.field("name", &self.name());
            ds.field("value", &self.value());
            ds.finish()
        }
    }
    pub enum ProducerIdsOffset {}
    #[derive(Copy, Clone, PartialEq)]

    /// The first producer id that has not been given out.
    pub struct ProducerIds<'a> {
        pub _tab: flatbuffers::Table<'a>,
    }

    impl<'a> flatbuffers::Follow<'a> for ProducerIds<'a> {
        type Inner = ProducerIds<'a>;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            Self { _tab: flatbuffers::Table::new(buf, loc) }
        }
    }

    impl<'a> ProducerIds<'a> {
        pub const VT_NEXT: flatbuffers::VOffsetT = 4;

        #[inline]
        pub unsafe fn init_from_table(table: flatbuffers::Table<'a>) -> Self {
            ProducerIds { _tab: table }
        }
        #[allow(unused_mut)]
        pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr>(
            _fbb: &'mut_bldr mut flatbuffers::FlatBufferBuilder<'bldr>,
            args: &'args ProducerIdsArgs,
        ) -> flatbuffers::WIPOffset<ProducerIds<'bldr>> {
            let mut builder = ProducerIdsBuilder::new(_fbb);
            builder.add_next(args.next);
            builder.finish()
        }

        #[inline]
        pub fn next(&self) -> i64 {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<i64>(ProducerIds::VT_NEXT, Some(0)).unwrap() }
        }
    }

    impl flatbuffers::Verifiable for ProducerIds<'_> {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.visit_table(pos)?.visit_field::<i64>("next", Self::VT_NEXT, false)?.finish();
            Ok(())
        }
    }
    pub struct ProducerIdsArgs {
        pub next: i64,
    }
    impl<'a> Default for ProducerIdsArgs {
        #[inline]
        fn default() -> Self {
            ProducerIdsArgs { next: 0 }
        }
    }

    pub struct ProducerIdsBuilder<'a: 'b, 'b> {
        fbb_: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        start_: flatbuffers::WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
    }
    impl<'a: 'b, 'b> ProducerIdsBuilder<'a, 'b> {
        #[inline]
        pub fn add_next(&mut self, next: i64) {
            self.fbb_.push_slot::<i64>(ProducerIds::VT_NEXT, next, 0);
        }
        #[inline]
        pub fn new(_fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>) -> ProducerIdsBuilder<'a, 'b> {
            let start = _fbb.start_table();
            ProducerIdsBuilder { fbb_: _fbb, start_: start }
        }
        #[inline]
        pub fn finish(self) -> flatbuffers::WIPOffset<ProducerIds<'a>> {
            let o = self.fbb_.end_table(self.start_);
            flatbuffers::WIPOffset::new(o.value())
        }
    }

    impl core::fmt::Debug for ProducerIds<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut ds = f.debug_struct("ProducerIds");
            ds.field("next", &self.next());
            ds.finish()
        }
    }
    pub enum RecordOffset {}
    #[derive(Copy, Clone, PartialEq)]

    pub struct Record<'a> {
        pub _tab: flatbuffers::Table<'a>,
    }

    impl<'a> flatbuffers::Follow<'a> for Record<'a> {
        type Inner = Record<'a>;
        #[inline]
        unsafe fn follow(buf: &'a [u8], loc: usize) -> Self::Inner {
            Self { _tab: flatbuffers::Table::new(buf, loc) }
        }
    }

    impl<'a> Record<'a> {
        pub const VT_BODY_TYPE: flatbuffers::VOffsetT = 4;
        pub const VT_BODY: flatbuffers::VOffsetT = 6;

        #[inline]
        pub unsafe fn init_from_table(table: flatbuffers::Table<'a>) -> Self {
            Record { _tab: table }
        }
        #[allow(unused_mut)]
        pub fn create<'bldr: 'args, 'args: 'mut_bldr, 'mut_bldr>(
            _fbb: &'mut_bldr mut flatbuffers::FlatBufferBuilder<'bldr>,
            args: &'args RecordArgs,
        ) -> flatbuffers::WIPOffset<Record<'bldr>> {
            let mut builder = RecordBuilder::new(_fbb);
            if let Some(x) = args.body {
                builder.add_body(x);
            }
            builder.add_body_type(args.body_type);
            builder.finish()
        }

        #[inline]
        pub fn body_type(&self) -> Body {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe { self._tab.get::<Body>(Record::VT_BODY_TYPE, Some(Body::NONE)).unwrap() }
        }
        #[inline]
        pub fn body(&self) -> flatbuffers::Table<'a> {
            // Safety:
            // Created from valid Table for this object
            // which contains a valid value in this slot
            unsafe {
                self._tab
                    .get::<flatbuffers::ForwardsUOffset<flatbuffers::Table<'a>>>(
                        Record::VT_BODY,
                        None,
                    )
                    .unwrap()
            }
        }
        #[inline]
        #[allow(non_snake_case)]
        pub fn body_as_cluster(&self) -> Option<Cluster<'a>> {
            if self.body_type() == Body::Cluster {
                let u = self.body();
                // Safety:
                // Created from a valid Table for this object
                // Which contains a valid union in this slot
                Some(unsafe { Cluster::init_from_table(u) })
            } else {
                None
            }
        }

        #[inline]
        #[allow(non_snake_case)]
        pub fn body_as_node(&self) -> Option<Node<'a>> {
            if self.body_type() == Body::Node {
                let u = self.body();
                // Safety:
                // Created from a valid Table for this object
                // Which contains a valid union in this slot
                Some(unsafe { Node::init_from_table(u) })
            } else {
                None
            }
        }

        #[inline]
        #[allow(non_snake_case)]
        pub fn body_as_topic(&self) -> Option<Topic<'a>> {
            if self.body_type() == Body::Topic {
                let u = self.body();
                // Safety:
                // Created from a valid Table for this object
                // Which contains a valid union in this slot
                Some(unsafe { Topic::init_from_table(u) })
            } else {
                None
            }
        }

        #[inline]
        #[allow(non_snake_case)]
        pub fn body_as_partition(&self) -> Option<Partition<'a>> {
            if self.body_type() == Body::Partition {
                let u = self.body();
                // Safety:
                // Created from a valid Table for this object
                // Which contains a valid union in this slot
                Some(unsafe { Partition::init_from_table(u) })
            } else {
                None
            }
        }

        #[inline]
        #[allow(non_snake_case)]
        pub fn body_as_remove_topic(&self) -> Option<RemoveTopic<'a>> {
            if self.body_type() == Body::RemoveTopic {
                let u = self.body();
                // Safety:
                // Created from a valid Table for this object
                // Which contains a valid union in this slot
                Some(unsafe { RemoveTopic::init_from_table(u) })
            } else {
                None
            }
        }

        #[inline]
        #[allow(non_snake_case)]
        pub fn body_as_config(&self) -> Option<Config<'a>> {
            if self.body_type() == Body::Config {
                let u = self.body();
                // Safety:
                // Created from a valid Table for this object
                // Which contains a valid union in this slot
                Some(unsafe { Config::init_from_table(u) })
            } else {
                None
            }
        }

        #[inline]
        #[allow(non_snake_case)]
        pub fn body_as_producer_ids(&self) -> Option<ProducerIds<'a>> {
            if self.body_type() == Body::ProducerIds {
                let u = self.body();
                // Safety:
                // Created from a valid Table for this object
                // Which contains a valid union in this slot
                Some(unsafe { ProducerIds::init_from_table(u) })
            } else {
                None
            }
        }
    }

    impl flatbuffers::Verifiable for Record<'_> {
        #[inline]
        fn run_verifier(
            v: &mut flatbuffers::Verifier,
            pos: usize,
        ) -> Result<(), flatbuffers::InvalidFlatbuffer> {
            use self::flatbuffers::Verifiable;
            v.visit_table(pos)?
                .visit_union::<Body, _>(
                    "body_type",
                    Self::VT_BODY_TYPE,
                    "body",
                    Self::VT_BODY,
                    true,
                    |key, v, pos| match key {
                        Body::Cluster => v
                            .verify_union_variant::<flatbuffers::ForwardsUOffset<Cluster>>(
                                "Body::Cluster",
                                pos,
                            ),
                        Body::Node => v.verify_union_variant::<flatbuffers::ForwardsUOffset<Node>>(
                            "Body::Node",
                            pos,
                        ),
                        Body::Topic => v
                            .verify_union_variant::<flatbuffers::ForwardsUOffset<Topic>>(
                                "Body::Topic",
                                pos,
                            ),
                        Body::Partition => v
                            .verify_union_variant::<flatbuffers::ForwardsUOffset<Partition>>(
                                "Body::Partition",
                                pos,
                            ),
                        Body::RemoveTopic => v
                            .verify_union_variant::<flatbuffers::ForwardsUOffset<RemoveTopic>>(
                                "Body::RemoveTopic",
                                pos,
                            ),
                        Body::Config => v
                            .verify_union_variant::<flatbuffers::ForwardsUOffset<Config>>(
                                "Body::Config",
                                pos,
                            ),
                        Body::ProducerIds => v
                            .verify_union_variant::<flatbuffers::ForwardsUOffset<ProducerIds>>(
                                "Body::ProducerIds",
                                pos,
                            ),
                        _ => Ok(()),
                    },
                )?
                .finish();
            Ok(())
        }
    }
    pub struct RecordArgs {
        pub body_type: Body,
        pub body: Option<flatbuffers::WIPOffset<flatbuffers::UnionWIPOffset>>,
    }
    impl<'a> Default for RecordArgs {
        #[inline]
        fn default() -> Self {
            RecordArgs {
                body_type: Body::NONE,
                body: None, // required field
            }
        }
    }

    pub struct RecordBuilder<'a: 'b, 'b> {
        fbb_: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        start_: flatbuffers::WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
    }
    impl<'a: 'b, 'b> RecordBuilder<'a, 'b> {
        #[inline]
        pub fn add_body_type(&mut self, body_type: Body) {
            self.fbb_.push_slot::<Body>(Record::VT_BODY_TYPE, body_type, Body::NONE);
        }
        #[inline]
        pub fn add_body(&mut self, body: flatbuffers::WIPOffset<flatbuffers::UnionWIPOffset>) {
            self.fbb_.push_slot_always::<flatbuffers::WIPOffset<_>>(Record::VT_BODY, body);
        }
        #[inline]
        pub fn new(_fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>) -> RecordBuilder<'a, 'b> {
            let start = _fbb.start_table();
            RecordBuilder { fbb_: _fbb, start_: start }
        }
        #[inline]
        pub fn finish(self) -> flatbuffers::WIPOffset<Record<'a>> {
            let o = self.fbb_.end_table(self.start_);
            self.fbb_.required(o, Record::VT_BODY, "body");
            flatbuffers::WIPOffset::new(o.value())
        }
    }

    impl core::fmt::Debug for Record<'_> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            let mut ds = f.debug_struct("Record");
            ds.field("body_type", &self.body_type());
            match self.body_type() {
                Body::Cluster => {
                    if let Some(x) = self.body_as_cluster() {
                        ds.field("body", &x)
                    } else {
                        ds.field(
                            "body",
                            &"InvalidFlatbuffer: Union discriminant does not match value.",
                        )
                    }
                }
                Body::Node => {
                    if let Some(x) = self.body_as_node() {
                        ds.field("body", &x)
                    } else {
                        ds.field(
                            "body",
                            &"InvalidFlatbuffer: Union discriminant does not match value.",
                        )
                    }
                }
                Body::Topic => {
                    if let Some(x) = self.body_as_topic() {
                        ds.field("body", &x)
                    } else {
                        ds.field(
                            "body",
                            &"InvalidFlatbuffer: Union discriminant does not match value.",
                        )
                    }
                }
                Body::Partition => {
                    if let Some(x) = self.body_as_partition() {
                        ds.field("body", &x)
                    } else {
                        ds.field(
                            "body",
                            &"InvalidFlatbuffer: Union discriminant does not match value.",
                        )
                    }
                }
                Body::RemoveTopic => {
                    if let Some(x) = self.body_as_remove_topic() {
                        ds.field("body", &x)
                    } else {
                        ds.field(
                            "body",
                            &"InvalidFlatbuffer: Union discriminant does not match value.",
                        )
                    }
                }
                Body::Config => {
                    if let Some(x) = self.body_as_config() {
                        ds.field("body", &x)
                    } else {
                        ds.field(
                            "body",
                            &"InvalidFlatbuffer: Union discriminant does not match value.",
                        )
                    }
                }
                Body::ProducerIds => {
                    if let Some(x) = self.body_as_producer_ids() {
                        ds.field("body", &x)
                    } else {
                        ds.field(
                            "body",
                            &"InvalidFlatbuffer: Union discriminant does not match value.",
                        )
                    }
                }
                _ => {
                    let x: Option<()> = None;
                    ds.field("body", &x)
                }
            };
            ds.finish()
        }
    }
    #[inline]
    /// Verifies that a buffer of bytes contains a `Record`
    /// and returns it.
    /// Note that verification is still experimental and may not
    /// catch every error, or be maximally performant. For the
    /// previous, unchecked, behavior use
    /// `root_as_record_unchecked`.
    pub fn root_as_record(buf: &[u8]) -> Result<Record, flatbuffers::InvalidFlatbuffer> {
        flatbuffers::root::<Record>(buf)
    }
    #[inline]
    /// Verifies that a buffer of bytes contains a size prefixed
    /// `Record` and returns it.
    /// Note that verification is still experimental and may not
    /// catch every error, or be maximally performant. For the
    /// previous, unchecked, behavior use
    /// `size_prefixed_root_as_record_unchecked`.
    pub fn size_prefixed_root_as_record(
        buf: &[u8],
    ) -> Result<Record, flatbuffers::InvalidFlatbuffer> {
        flatbuffers::size_prefixed_root::<Record>(buf)
    }
    #[inline]
    /// Verifies, with the given options, that a buffer of bytes
    /// contains a `Record` and returns it.
    /// Note that verification is still experimental and may not
    /// catch every error, or be maximally performant. For the
    /// previous, unchecked, behavior use
    /// `root_as_record_unchecked`.
    pub fn root_as_record_with_opts<'b, 'o>(
        opts: &'o flatbuffers::VerifierOptions,
        buf: &'b [u8],
    ) -> Result<Record<'b>, flatbuffers::InvalidFlatbuffer> {
        flatbuffers::root_with_opts::<Record<'b>>(opts, buf)
    }
    #[inline]
    /// Verifies, with the given verifier options, that a buffer of
    /// bytes contains a size prefixed `Record` and returns
    /// it. Note that verification is still experimental and may not
    /// catch every error, or be maximally performant. For the
    /// previous, unchecked, behavior use
    /// `root_as_record_unchecked`.
    pub fn size_prefixed_root_as_record_with_opts<'b, 'o>(
        opts: &'o flatbuffers::VerifierOptions,
        buf: &'b [u8],
    ) -> Result<Record<'b>, flatbuffers::InvalidFlatbuffer> {
        flatbuffers::size_prefixed_root_with_opts::<Record<'b>>(opts, buf)
    }
    #[inline]
    /// Assumes, without verification, that a buffer of bytes contains a Record and returns it.
    /// # Safety
    /// Callers must trust the given bytes do indeed contain a valid `Record`.
    pub unsafe fn root_as_record_unchecked(buf: &[u8]) -> Record {
        flatbuffers::root_unchecked::<Record>(buf)
    }
    #[inline]
    /// Assumes, without verification, that a buffer of bytes contains a size prefixed Record and returns it.
    /// # Safety
    /// Callers must trust the given bytes do indeed contain a valid size prefixed `Record`.
    pub unsafe fn size_prefixed_root_as_record_unchecked(buf: &[u8]) -> Record {
        flatbuffers::size_prefixed_root_unchecked::<Record>(buf)
    }
    #[inline]
    pub fn finish_record_buffer<'a, 'b>(
        fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        root: flatbuffers::WIPOffset<Record<'a>>,
    ) {
        fbb.finish(root, None);
    }

    #[inline]
    pub fn finish_size_prefixed_record_buffer<'a, 'b>(
        fbb: &'b mut flatbuffers::FlatBufferBuilder<'a>,
        root: flatbuffers::WIPOffset<Record<'a>>,
    ) {
        fbb.finish_size_prefixed(root, None);
    }
} // pub mod schema
