internal import CKernels

/// Which variant of the kernels runs. Ordered from the slowest to the fastest of each architecture.
package enum InstructionSet: String, Sendable, Hashable, CaseIterable {
    case scalar
    case avx2
    case avxvnni
    case avx512
    case avx512vnni
    case avx512bf16
    case avx512amx
    case neon
    case neondot
    case neonbf16

    /// What this processor and this build can run, slowest first.
    package static var available: [InstructionSet] { allCases.filter { $0.kernels != nil } }

    /// The fastest of them. Intel's processors multiply bfloat16 pairs in vectors at half the rate of float32 numbers, so
    /// where the system withholds AMX they are better off without.
    package static var preferred: InstructionSet {
        available.last { $0 != .avx512bf16 || fv_cpu_has_fast_pairs() != 0 } ?? .scalar
    }

    /// Whether products with bfloat16 weights round their inputs to bfloat16 too.
    package var roundsInputs: Bool {
        switch self {
        case .avx512bf16, .avx512amx, .neonbf16: true
        case .scalar, .avx2, .avxvnni, .avx512, .avx512vnni, .neon, .neondot: false
        }
    }

    /// The function table; nil where the processor or the build lacks the instruction set.
    var kernels: UnsafePointer<fv_kernels>? { fv_kernels_for(isa) }

    private var isa: fv_isa {
        switch self {
        case .scalar: FV_ISA_SCALAR
        case .avx2: FV_ISA_AVX2
        case .avxvnni: FV_ISA_AVXVNNI
        case .avx512: FV_ISA_AVX512
        case .avx512vnni: FV_ISA_AVX512VNNI
        case .avx512bf16: FV_ISA_AVX512BF16
        case .avx512amx: FV_ISA_AVX512AMX
        case .neon: FV_ISA_NEON
        case .neondot: FV_ISA_NEONDOT
        case .neonbf16: FV_ISA_NEONBF16
        }
    }
}
