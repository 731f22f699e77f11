internal import Checkpoints
internal import ImageInput
internal import Models
package import Tensors

/// Images on their way through the encoder, one at a time, in slices, the tiles of an image one after the other. The
/// activations are in a workspace of their own, so that steps of the decoder come between.
package final class ImageEncodings {
    /// What an image is encoded to.
    package struct Output: Sendable {
        /// [tiles · tokens of a tile, feature channels]; empty where nobody asked for them
        package let features: Tensor
        /// Visual tokens as the decoder reads them, [tokens, hidden size].
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
        let pixels: PixelTensor
        /// Of the tile that is worked on.
        var encoding: any VisionEncoding
        var tile = 0
        /// [S, S, 3], the pixels of that tile.
        let input: FeatureMap
        /// Of all tiles where they are asked for, else of that one.
        let features: Matrix
        /// Of all tiles.
        let projected: Matrix
        let mark: Workspace.Mark
        let identity: Int?
        /// Of the request for features.
        let request: Int?
        var durations = StageDurations()
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
    var progress: Double {
        active.map { (Double($0.tile) + $0.encoding.progress) / Double($0.pixels.tiles) } ?? 1
    }

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
            let tokens = network.encoder.tokens(side: pixels.size)
            let features = try workspace.matrix(
                request == nil ? tokens : tokens * pixels.tiles, network.encoder.featureChannels)
            let projected = try workspace.matrix(
                tokens * pixels.tiles, network.configuration.text.hiddenSize)
            active = Active(
                pixels: pixels,
                encoding: encoding(of: 0, in: pixels, input, into: features.rows(0..<tokens)),
                input: input, features: features, projected: projected, mark: mark, identity: identity,
                request: request)
        } catch {
            workspace.release(to: mark)
            throw error
        }
    }

    /// Begins a tile.
    /// - Parameter features: [tokens of a tile, channels]
    private func encoding(
        of tile: Int, in pixels: PixelTensor, _ input: FeatureMap, into features: Matrix
    ) -> any VisionEncoding {
        let count = input.buffer.count
        pixels.values.withUnsafeBufferPointer { values in
            _ = input.buffer.initialize(
                fromContentsOf: UnsafeBufferPointer(rebasing: values[tile * count..<(tile + 1) * count]))
        }
        return network.encoder.begin(input, into: features, workspace: workspace)
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
                self.active?.durations.encode += clock.now - began
                if isComplete, let finished = try finishTile(on: compute) { return finished }
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

    /// Projects a tile that is encoded, and begins the next one.
    /// - Returns: the image's visual tokens after the last one.
    private func finishTile(on compute: Compute) throws -> Finished? {
        guard let active else { return nil }
        let start = clock.now
        let tokens = active.projected.rows / active.pixels.tiles
        let isKept = active.request != nil
        func rows(_ tile: Int) -> Matrix {
            active.features.rows(isKept ? tile * tokens..<(tile + 1) * tokens : 0..<tokens)
        }
        try network.projector(
            rows(active.tile), into: active.projected.rows(active.tile * tokens..<(active.tile + 1) * tokens),
            workspace: workspace, on: compute)
        // A flag raised within the projector leaves its output undefined.
        try compute.checkCancellation()
        self.active?.durations.project += clock.now - start
        guard active.tile + 1 == active.pixels.tiles else {
            self.active?.tile += 1
            self.active?.encoding = encoding(
                of: active.tile + 1, in: active.pixels, active.input, into: rows(active.tile + 1))
            return nil
        }
        return try finish(on: compute)
    }

    private func finish(on compute: Compute) throws -> Finished? {
        guard let active else { return nil }
        let start = clock.now
        let projected = try network.visualTokens(
            active.projected, arrangement: active.pixels.arrangement, on: compute)
        var durations = active.durations
        durations.project += clock.now - start
        let place = requests.firstIndex { $0.id == active.request }
        let output = Output(
            features: try active.features.rows(0..<(place == nil ? 0 : active.features.rows)).copied(),
            projected: projected, durations: durations)
        abandon()
        if let place { requests.remove(at: place).completion(.success(output)) }
        return Finished(identity: active.identity, output: output)
    }
}
