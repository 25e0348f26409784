/* One row per architecture: a file of src/arch defines the constant wn_arch_NAME. */
WN_ARCH(llama)
WN_ARCH(mistral)
WN_ARCH(qwen2)
WN_ARCH(qwen3)
WN_ARCH(granite)
WN_ARCH(smollm3)
WN_ARCH(olmo2)
