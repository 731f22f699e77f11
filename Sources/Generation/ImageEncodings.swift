internal import Checkpoints
package import ImageInput
internal import Models
package import Tensors

/// Images on their way through the encoder, one at a time, in slices. The activations are in a workspace of their own, so
/// that steps of the decoder come between.
package final class ImageEncodings {
    /// What an image is encoded to.
    package struct Output: Sendable {
        /// [tokens, feature channels]
        package let features: Tensor
        /// Visual tokens, [tokens, hidden size].
        package let projected: Tensor
        package let durations: StageDurations
    }

    /// A request for an image's features, without a prompt.
    struct Request {
        let id: Int
        let pixels: PixelTensor
        let cancellation: Cancellation
        let completion: (Result<Output, any Error>) -> Void
        /// Steps since it got anything.
        var waited = 0
    }

    struct Finished {
        /// Of the image; nil for a request for features.
        let identity: Int?
        let output: Output
    }

    private struct Active {
        let encoding: any VisionEncoding
        let features: Matrix
        let mark: Workspace.Mark
        let identity: Int?
        /// Of the request for features.
        let request: Int?
        var duration: Duration = .zero
    }

    private let network: VisionLanguageNetwork
    private let workspace = Workspace()
    private let clock = ContinuousClock()
    private(set) var requests: [Request] = []
    private var active: Active?

    init(_ network: VisionLanguageNetwork) { self.network = network }

    var scratchBytes: Int { workspace.capacityBytes }
    var requestCount: Int { requests.count }
    var isActive: Bool { active != nil }
    var activeIdentity: Int? { active?.identity }
    /// Of the image that is worked on.
    var progress: Double { active?.encoding.progress ?? 1 }

    func add(_ request: Request) { requests.append(request) }

    func count(served: Int?) {
        for index in requests.indices {
            requests[index].waited = requests[index].id == served ? 0 : requests[index].waited + 1
        }
    }

    /// Ends requests for features that were cancelled.
    func sweep() {
        for request in requests where request.cancellation.isCancelled {
            if active?.request == request.id { abandon() }
            requests.removeAll { $0.id == request.id }
            request.completion(.failure(TensorError.cancelled))
        }
    }

    /// Begins the image of a request for features, which learns of an error.
    func begin(request id: Int) {
        guard let place = requests.firstIndex(where: { $0.id == id }) else { return }
        do {
            try begin(requests[place].pixels, identity: nil, request: id)
        } catch {
            requests.remove(at: place).completion(.failure(error))
        }
    }

    /// Begins the image of a sequence.
    func begin(_ pixels: PixelTensor, identity: Int) throws(TensorError) {
        try begin(pixels, identity: identity, request: nil)
    }

    private func begin(_ pixels: PixelTensor, identity: Int?, request: Int?) throws(TensorError) {
        let mark = workspace.mark()
        do {
            let input = try workspace.map(height: pixels.size, width: pixels.size, channels: 3)
            _ = input.buffer.initialize(from: pixels.values)
            let features = try workspace.matrix(
                network.encoder.tokens(side: pixels.size), network.encoder.featureChannels)
            active = Active(
                encoding: network.encoder.begin(input, into: features, workspace: workspace),
                features: features, mark: mark, identity: identity, request: request)
        } catch {
            workspace.release(to: mark)
            throw error
        }
    }

    /// Drops the image that is worked on.
    func abandon() {
        guard let active else { return }
        workspace.release(to: active.mark)
        self.active = nil
    }

    /// Computes slices for about so long, at least one.
    /// - Returns: the image's visual tokens when it is done.
    func work(for time: Duration, on compute: Compute) throws -> Finished? {
        let start = clock.now
        do {
            while let active {
                let began = clock.now
                let isComplete = try active.encoding.step(on: compute)
                self.active?.duration += clock.now - began
                if isComplete { return try finish(on: compute) }
                if clock.now - start >= time { return nil }
            }
            return nil
        } catch {
            let request = active?.request
            abandon()
            // Whoever asked for features alone learns of it here, a sequence from the caller.
            guard let place = requests.firstIndex(where: { $0.id == request }) else { throw error }
            requests.remove(at: place).completion(.failure(error))
            return nil
        }
    }

    private func finish(on compute: Compute) throws -> Finished? {
        guard let active else { return nil }
        let start = clock.now
        let projected = try workspace.matrix(
            active.features.rows, network.configuration.text.hiddenSize)
        try network.projector(active.features, into: projected, workspace: workspace, on: compute)
        // A flag raised within the projector leaves its output undefined.
        try compute.checkCancellation()
        var durations = StageDurations()
        durations.encode = active.duration
        durations.project = clock.now - start
        let place = requests.firstIndex { $0.id == active.request }
        let output = Output(
            features: try active.features.copied(), projected: try projected.copied(),
            durations: durations)
        abandon()
        if let place { requests.remove(at: place).completion(.success(output)) }
        return Finished(identity: active.identity, output: output)
    }
}
