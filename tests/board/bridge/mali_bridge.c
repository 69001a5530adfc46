// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Makes a platform device out of the simulated Mali GPU.
 *
 * The model is a PCI device (13b5:a867); CSF drivers bind to a device-tree node. This module takes
 * the PCI device and adds a platform device with the node of the overlay: its memory is BAR 0, its
 * interrupts are the MSI-X vectors.
 */

#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/of_device.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/swiotlb.h>

#define MALI_BAR	0

/* In the order of the vectors of the model. */
static const char * const mali_irqs[] = { "job", "mmu", "gpu" };

static struct platform_device *mali_add(struct pci_dev *pci, struct device_node *np)
{
	struct resource res[1 + ARRAY_SIZE(mali_irqs)] = {
		DEFINE_RES_MEM(pci_resource_start(pci, MALI_BAR),
			       pci_resource_len(pci, MALI_BAR)),
	};
	struct platform_device *pdev;
	u64 address;
	char name[32];
	int i, ret;

	for (i = 0; i < ARRAY_SIZE(mali_irqs); i++)
		res[1 + i] = (struct resource)DEFINE_RES_IRQ_NAMED(pci_irq_vector(pci, i),
								   mali_irqs[i]);

	ret = of_property_read_reg(np, 0, &address, NULL);
	if (ret)
		return ERR_PTR(ret);

	/* The name that the kernel would have given it. */
	snprintf(name, sizeof(name), "%llx.gpu", address);
	pdev = platform_device_alloc(name, PLATFORM_DEVID_NONE);
	if (!pdev)
		return ERR_PTR(-ENOMEM);

	pdev->dev.parent = &pci->dev;
	/* The platform bus gives this reference back with the device. */
	device_set_node(&pdev->dev, of_fwnode_handle(of_node_get(np)));

	ret = platform_device_add_resources(pdev, res, ARRAY_SIZE(res));
	if (ret)
		goto err_put;

	ret = of_dma_configure(&pdev->dev, np, true);
	if (ret)
		goto err_put;

	ret = platform_device_add(pdev);
	if (ret)
		goto err_put;

	return pdev;

err_put:
	platform_device_put(pdev);
	return ERR_PTR(ret);
}

static int mali_bridge_probe(struct pci_dev *pci, const struct pci_device_id *id)
{
	struct platform_device *pdev;
	struct device_node *np;
	int ret;

	ret = pcim_enable_device(pci);
	if (ret)
		return ret;

	pci_set_master(pci);
	ret = pci_alloc_irq_vectors(pci, ARRAY_SIZE(mali_irqs), ARRAY_SIZE(mali_irqs),
				    PCI_IRQ_MSIX);
	if (ret < 0)
		return ret;

	np = of_find_compatible_node(NULL, NULL, "arm,mali-valhall-csf");
	if (!np) {
		ret = dev_err_probe(&pci->dev, -ENODEV, "no GPU node in the device tree\n");
		goto err_vectors;
	}

	pdev = mali_add(pci, np);
	of_node_put(np);
	if (IS_ERR(pdev)) {
		ret = PTR_ERR(pdev);
		goto err_vectors;
	}

	pci_set_drvdata(pci, pdev);
	return 0;

err_vectors:
	pci_free_irq_vectors(pci);
	return ret;
}

static void mali_bridge_remove(struct pci_dev *pci)
{
	platform_device_unregister(pci_get_drvdata(pci));
	pci_free_irq_vectors(pci);
}

static const struct pci_device_id mali_bridge_ids[] = {
	{ PCI_DEVICE(0x13b5, 0xa867) },
	{ }
};
MODULE_DEVICE_TABLE(pci, mali_bridge_ids);

static struct pci_driver mali_bridge_driver = {
	.name = "mali_bridge",
	.id_table = mali_bridge_ids,
	.probe = mali_bridge_probe,
	.remove = mali_bridge_remove,
};
module_pci_driver(mali_bridge_driver);

static bool mali_copies;

/* All devices have the same pool: what others map meanwhile is copied as well. */
static int mali_set_copies(const char *val, const struct kernel_param *kp)
{
	struct device *pci;
	struct platform_device *pdev;
	struct io_tlb_mem *pool;
	bool copies;
	int ret = kstrtobool(val, &copies);

	if (ret)
		return ret;

	pci = driver_find_next_device(&mali_bridge_driver.driver, NULL);
	if (!pci)
		return -ENODEV;

	/* It is not removed meanwhile, and with it the platform device. */
	device_lock(pci);
	pdev = dev_get_drvdata(pci);
	pool = pdev ? pdev->dev.dma_io_tlb_mem : NULL;
	if (pool && pool->nslabs) {
		pool->force_bounce = copies;
		mali_copies = copies;
	} else {
		ret = -EOPNOTSUPP;
	}
	device_unlock(pci);
	put_device(pci);
	return ret;
}

static const struct kernel_param_ops mali_copies_ops = {
	.set = mali_set_copies,
	.get = param_get_bool,
};
module_param_cb(copies, &mali_copies_ops, &mali_copies, 0600);
MODULE_PARM_DESC(copies,
		 "Mapping memory for the GPU makes a copy, unmapping copies back: as with caches");

MODULE_DESCRIPTION("Platform device for the simulated Mali GPU");
MODULE_LICENSE("Dual MIT/GPL");
