internal import Synchronization

/// What each operation of a run took, added up by kind and shape: the data of a roofline.
package final class OperationLog: Sendable {
    package enum Kind: String, Sendable, Hashable {
        case linear
        case gatedLinear = "gated linear"
        case feedForward = "feed-forward"
        case depthwise
        case stem
        case attention
        case norm
        case other
    }

    package struct Entry: Sendable {
        package let kind: Kind
        /// Rows, inputs and outputs, or what stands for them.
        package let shape: String
        package fileprivate(set) var calls = 0
        /// Multiplications and additions of all calls.
        package fileprivate(set) var operations = 0
        /// Bytes of operands and results, each counted once per call.
        package fileprivate(set) var bytes = 0
        package fileprivate(set) var time = Duration.zero
    }

    private struct Key: Hashable {
        let kind: Kind
        let shape: String
    }

    private let state = Mutex<(entries: [Entry], places: [Key: Int])>(([], [:]))

    package init() {}

    /// In the order of their first call.
    package var entries: [Entry] { state.withLock { $0.entries } }

    package func removeAll() { state.withLock { $0 = ([], [:]) } }

    func record(_ kind: Kind, _ shape: String, operations: Int, bytes: Int, took time: Duration) {
        state.withLock { state in
            let key = Key(kind: kind, shape: shape)
            let place = state.places[key] ?? state.entries.count
            if place == state.entries.count {
                state.places[key] = place
                state.entries.append(Entry(kind: kind, shape: shape))
            }
            state.entries[place].calls += 1
            state.entries[place].operations += operations
            state.entries[place].bytes += bytes
            state.entries[place].time += time
        }
    }
}
