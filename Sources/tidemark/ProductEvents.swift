import Topologies

/// The topology that generating and demonstrating use where none is named: the one in topologies/product-events.yaml.
enum ProductEvents {
  static func topology() throws -> Topology {
    do throws(TopologyErrors) { return try Topology.parse(yaml: yaml, file: "product-events.yaml") } catch { throw Failure(.software, "\(error)") }
  }

  static let yaml = """
    # Product SDK events: revenue and people per department, daily active users, a live count per minute.
    topology: product-events
    source:
      topics: [product.events]
      format: json
      partition_key: user_id        # the Kafka key: exact distinct counts rest on it
    event:
      id: event_id
      time: created_at              # RFC 3339, or { path: ts, format: epoch_milliseconds }
      fields:
        event_type:   string
        user_id:      string
        department:   { type: string, default: unassigned }
        amount_cents: { path: properties.amount_cents, type: integer, optional: true }
    time:
      allowed_lateness: 48h         # a window is final this long after its end
      zone: UTC                     # where days begin
    deduplicate: { within: 1h }     # SDK retries reuse the event id
    aggregates:
      daily_metrics:
        window: { tumbling: 1 day }
        by: [department, event_type]
        measures:
          event_count:   count
          unique_users:  distinct user_id
          revenue_cents: sum amount_cents
        access: { by: department }
      daily_active_users:
        window: { tumbling: 1 day }
        measures: { dau: distinct user_id }
        access: { tiers: [ceo, board, department_head, manager, all_hands] }
      events_per_minute:
        window: { tumbling: 1 minute }
        by: [event_type]
        where: { event_type: { not: [heartbeat] } }
        measures: { event_count: count }
    reconcile:
      daily_metrics:      { against: raw, tolerance: exact }
      daily_active_users: { against: raw, tolerance: exact }
      events_per_minute:  { against: raw, tolerance: exact }

    """
}
