import Generation
import Testing

@Suite("The scheduler gives everybody their turn")
struct SchedulerTests {
    private typealias Candidate = Scheduler.Candidate

    private func plan(
        _ candidates: [Scheduler.Candidate], _ scheduler: inout Scheduler
    ) -> Scheduler.Plan {
        var plan = Scheduler.Plan()
        plan.decoding = [99]
        plan.prefilling = 99
        plan.encoding = 99
        scheduler.plan(candidates, into: &plan)
        return plan
    }

    private func plan(_ candidates: [Scheduler.Candidate]) -> Scheduler.Plan {
        var scheduler = Scheduler()
        return plan(candidates, &scheduler)
    }

    @Test("Nobody, nothing")
    func nobody() {
        #expect(plan([]) == Scheduler.Plan())
    }

    @Test("Everybody who decodes takes part in every step, in order, whatever else there is")
    func decoding() {
        let decoding = [4, 2, 7].map { Candidate(id: $0) }
        #expect(plan(decoding).decoding == [4, 2, 7])
        let more = [Candidate(id: 1, rows: 300), Candidate(id: 3, needsImage: true)]
        let mixed = plan(more + decoding)
        #expect(mixed.decoding == [4, 2, 7] && mixed.prefilling == 1 && mixed.encoding == nil)
    }

    @Test("A prompt alone goes through in large parts, beside others in small ones")
    func rows() {
        var scheduler = Scheduler()
        scheduler.limits.rowsAlone = 500
        scheduler.limits.rowsBeside = 40
        #expect(plan([Candidate(id: 1, rows: 300)], &scheduler).rows == 300)
        #expect(plan([Candidate(id: 1, rows: 900)], &scheduler).rows == 500)
        #expect(plan([Candidate(id: 1, rows: 300), Candidate(id: 2)], &scheduler).rows == 40)
        #expect(plan([Candidate(id: 1, rows: 25), Candidate(id: 2)], &scheduler).rows == 25)
    }

    @Test("The short prompt goes first, the earlier of two equal ones, and the more urgent before either")
    func order() {
        #expect(plan([Candidate(id: 1, rows: 300), Candidate(id: 2, rows: 25)]).prefilling == 2)
        #expect(plan([Candidate(id: 1, rows: 25), Candidate(id: 2, rows: 25)]).prefilling == 1)
        let urgent = Candidate(id: 3, priority: 1, rows: 900)
        #expect(plan([Candidate(id: 1, rows: 25), urgent]).prefilling == 3)
        #expect(plan([urgent, Candidate(id: 1, rows: 25)]).prefilling == 3)
        #expect(
            plan([Candidate(id: 1, needsImage: true), Candidate(id: 2, priority: 2, needsImage: true)])
                .encoding == 2)
    }

    @Test("A short question overtakes an image that is being encoded; a long prompt takes turns with it")
    func image() {
        var scheduler = Scheduler()
        let image = Candidate(id: 1, needsImage: true)
        #expect(plan([image], &scheduler).encoding == 1)
        for _ in 0..<5 {
            let short = plan([image, Candidate(id: 2, rows: 25)], &scheduler)
            #expect(short.prefilling == 2 && short.encoding == nil)
        }
        var served: [String] = []
        for _ in 0..<6 {
            let next = plan([image, Candidate(id: 2, rows: 2000), Candidate(id: 3)], &scheduler)
            #expect(next.decoding == [3])
            served.append(next.encoding == nil ? "prompt" : "image")
        }
        #expect(Set(zip(served, served.dropFirst()).map { $0 + $1 }) == ["promptimage", "imageprompt"])
    }

    @Test("For throughput, answers wait for images, and share their steps with whole prompts")
    func throughput() {
        var scheduler = Scheduler()
        scheduler.limits.decodesBesideOthers = false
        let decoding = [4, 2].map { Candidate(id: $0) }
        let image = plan(decoding + [Candidate(id: 1, needsImage: true)], &scheduler)
        #expect(image.encoding == 1 && image.decoding.isEmpty && image.prefilling == nil)
        let prompt = plan(decoding + [Candidate(id: 1, rows: 300)], &scheduler)
        #expect(prompt.prefilling == 1 && prompt.rows == 300 && prompt.decoding == [4, 2])
        #expect(plan(decoding, &scheduler).decoding == [4, 2])
    }

    /// Fake requests that arrive, are served as planned and leave.
    @Test("Whatever comes, nobody waits for ever", arguments: 0..<8)
    func fairness(seed: UInt64) {
        var random = SystemNumbers(state: seed)
        var scheduler = Scheduler()
        var waiting = [
            Candidate(id: -1, rows: 5_000), Candidate(id: -2, priority: -1, rows: 300),
            Candidate(id: -3, needsImage: true),
        ]
        var imageSlices = 40
        var steps = 0
        while waiting.contains(where: { $0.id < 0 }), steps < 20_000 {
            steps += 1
            // Short questions arrive faster than they can be answered.
            if waiting.count < 12 {
                waiting.append(
                    Candidate(
                        id: steps, priority: Int(random.next() % 3), rows: 2 + Int(random.next() % 60)))
            }
            let plan = plan(waiting, &scheduler)
            for index in waiting.indices {
                let isServed =
                    [plan.prefilling, plan.encoding].contains(waiting[index].id)
                    || plan.decoding.contains(waiting[index].id)
                waiting[index].waited = isServed ? 0 : waiting[index].waited + 1
                if plan.prefilling == waiting[index].id { waiting[index].rows -= plan.rows }
                if plan.encoding == waiting[index].id {
                    imageSlices -= 1
                    if imageSlices == 0 {
                        waiting[index].needsImage = false
                        waiting[index].rows = 280
                    }
                }
            }
            // Whose prompt is complete gets one token and leaves.
            waiting.removeAll { !$0.needsImage && $0.rows <= 0 }
        }
        #expect(steps < 20_000)
    }
}

private struct SystemNumbers {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }
}
