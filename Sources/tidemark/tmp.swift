import Topologies
extension Topology { func explanation() -> String { "" } }
