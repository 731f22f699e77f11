/// Decides what one step of the engine does. Pure: it sees what sequences need, not what they are.
///
/// A step takes one row of every sequence that decodes, and beside them a limited number of rows of one prompt or a
/// slice of one image, so that nobody's answer halts for long. What is short goes before what is long, but nobody waits
/// for ever.
package struct Scheduler {
    package struct Limits: Sendable {
        /// Rows of a prompt in a step of its own, and beside sequences that decode.
        package var rowsAlone = 1024
        package var rowsBeside = 64
        /// Steps that a prompt or image may be overtaken by shorter or more urgent ones.
        package var patience = 16
        /// Whether sequences that decode go on while others' images and prompts are worked on. Otherwise they wait for
        /// images, and share their steps with whole prompts: more of them decode together, so that all are done earlier.
        package var decodesBesideOthers = true

        package init() {}
    }

    /// What a sequence needs next.
    package struct Candidate: Sendable {
        package var id: Int
        /// Higher goes first.
        package var priority = 0
        /// Positions that are to be computed before its next token: 1 while it decodes.
        package var rows = 1
        /// An image of it is not encoded yet.
        package var needsImage = false
        /// Steps since it got anything.
        package var waited = 0

        package init(id: Int, priority: Int = 0, rows: Int = 1, needsImage: Bool = false, waited: Int = 0) {
            self.id = id
            self.priority = priority
            self.rows = rows
            self.needsImage = needsImage
            self.waited = waited
        }
    }

    /// What a step does.
    package struct Plan: Sendable, Equatable {
        /// Sequences with one row each.
        package var decoding: [Int] = []
        /// A sequence with several rows.
        package var prefilling: Int?
        package var rows = 0
        /// A sequence whose image is worked on.
        package var encoding: Int?

        package init() {}

        mutating func clear() {
            decoding.removeAll(keepingCapacity: true)
            prefilling = nil
            rows = 0
            encoding = nil
        }
    }

    package var limits = Limits()
    /// Where a prompt and an image both want the rest of a step, they take turns.
    private var imageIsNext = false

    package init() {}

    /// - Parameters:
    ///   - candidates: in the order in which they came
    ///   - plan: overwritten
    package mutating func plan(_ candidates: [Candidate], into plan: inout Plan) {
        plan.clear()
        var prompt: Candidate?
        var image: Candidate?
        for candidate in candidates {
            if candidate.needsImage {
                if goesBefore(candidate, image, isShorter: false) { image = candidate }
            } else if candidate.rows == 1 {
                plan.decoding.append(candidate.id)
            } else if goesBefore(candidate, prompt, isShorter: candidate.rows < prompt?.rows ?? .max) {
                prompt = candidate
            }
        }
        // A short prompt overtakes an image, but not for ever.
        let isOvertaken =
            imageIsNext && (image?.waited ?? 0 >= limits.patience || prompt?.rows ?? 0 > limits.rowsBeside)
        if let prompt, image == nil || !isOvertaken {
            plan.prefilling = prompt.id
            let isBeside = limits.decodesBesideOthers && !plan.decoding.isEmpty
            plan.rows = min(prompt.rows, isBeside ? limits.rowsBeside : limits.rowsAlone)
            imageIsNext = true
        } else if let image {
            plan.encoding = image.id
            if !limits.decodesBesideOthers { plan.decoding.removeAll(keepingCapacity: true) }
            imageIsNext = false
        }
    }

    /// Whether a candidate is served before another that came earlier.
    private func goesBefore(_ candidate: Candidate, _ other: Candidate?, isShorter: Bool) -> Bool {
        guard let other else { return true }
        if other.waited >= limits.patience || candidate.waited >= limits.patience {
            return candidate.waited > other.waited
        }
        return candidate.priority == other.priority ? isShorter : candidate.priority > other.priority
    }
}
