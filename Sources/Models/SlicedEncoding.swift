internal import Tensors

/// The way of an image through a tower, slice after slice: a tower's `encode` takes it to its end, ``SlicedEncoding``
/// pauses after each slice.
protocol EncodingRun {
    /// Of the whole tower.
    var slices: Int { get }
    var state: EncodingState { get set }

    /// Computes slice `state.slicesDone`.
    mutating func runSlice(on compute: Compute) throws(TensorError)
}

/// How far an encoding is.
struct EncodingState {
    let workspace: Workspace
    fileprivate(set) var slicesDone = 0
    /// The workspace's level to return to.
    fileprivate let start: Workspace.Mark
    fileprivate var failure: TensorError?

    init(_ workspace: Workspace) {
        self.workspace = workspace
        start = workspace.mark()
    }
}

extension EncodingRun {
    /// See ``VisionEncoding/step(on:)``.
    mutating func step(on compute: Compute) throws(TensorError) -> Bool {
        if let failure = state.failure { throw failure }
        guard state.slicesDone < slices else { return true }
        do throws(TensorError) {
            try compute.checkCancellation()
            try runSlice(on: compute)
            // A flag raised within the slice leaves its output undefined.
            try compute.checkCancellation()
        } catch {
            state.failure = error
            state.workspace.release(to: state.start)
            throw error
        }
        state.slicesDone += 1
        guard state.slicesDone == slices else { return false }
        state.workspace.release(to: state.start)
        return true
    }

    /// All slices that are left.
    mutating func finish(on compute: Compute) throws(TensorError) {
        while try !step(on: compute) {}
    }
}

/// An encoding that pauses after every slice.
final class SlicedEncoding<Run: EncodingRun>: VisionEncoding {
    private var run: Run

    init(_ run: Run) { self.run = run }

    var progress: Double { Double(run.state.slicesDone) / Double(run.slices) }

    func step(on compute: Compute) throws(TensorError) -> Bool { try run.step(on: compute) }
}
